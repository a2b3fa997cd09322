"""Pulls, imports of clients, removals and collections at once, over random graphs of shared layers.

Whatever the order: what an image that is there refers to is there, whole; and when all is done and removed,
nothing is left. ``PINNACE_GC_GRAPHS`` is how many graphs, 4 in every test run.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from pinnace.images import select
from pinnace.images.pull import pull
from pinnace.registry.resolver import Resolver
from pinnace.spec import image as images
from pinnace.spec import platform as platforms
from pinnace.spec.digest import sha256
from pinnace.store import gc
from pinnace.store.store import Store
from tests.fakeregistry import FakeRegistry
from tests.images import TestImage
from tests.layers import LayerBuilder

NS = "default"
AMD64 = platforms.parse("linux/amd64")
LAYERS = st.lists(st.integers(0, 5), max_size=4, unique=True)


@cache
def layer(number: int) -> bytes:
    return LayerBuilder().add(f"f{number}", bytes([number]) * 3000).bytes()


@settings(max_examples=int(os.environ.get("PINNACE_GC_GRAPHS", "4")), deadline=None)
@given(st.lists(LAYERS, min_size=2, max_size=4), st.lists(st.booleans(), min_size=4, max_size=4))
def test_nothing_reachable_is_ever_removed(graph: list[list[int]], unpacked: list[bool]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(scratch)
        registries = [
            FakeRegistry(TestImage(["linux/amd64"], list(map(layer, each)))) for each in graph
        ]
        for registry in registries:
            registry.__enter__()
        try:
            _live(store, registries, unpacked)
            for image in store.images.list(NS):
                store.images.delete(NS, image.name)
            _collect(store)
            assert list(store.content.walk(NS)) == []
            assert list(store.content.blobs.walk()) == []
            assert list(store.snapshotter().walk(NS)) == []
            assert os.listdir(os.path.join(store.snapshotter().root, "snapshots")) == []
        finally:
            for registry in registries:
                registry.__exit__(None, None, None)
            store.close()


def _live(store: Store, registries: list[FakeRegistry], unpacked: list[bool]) -> None:
    """Each image pulled, checked and removed, twice, by a thread of its own, while collections run."""
    over = threading.Event()
    problems: list[BaseException] = []

    def watched(work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as problem:
                problems.append(problem)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def collecting() -> None:
        while not over.is_set():
            _collect(store)

    def user(registry: FakeRegistry, unpack: bool) -> None:
        for left in (1, 0):
            resolver = Resolver(sleep=0.01)
            try:
                pull(store, NS, registry.reference, resolver, platform=AMD64, unpack=unpack)
            finally:
                resolver.close()
            _collect(store)
            _check(store, registry, unpack)
            if left:
                store.images.delete(NS, registry.reference)

    collector = watched(collecting)
    users = [
        watched(lambda registry=registry, unpack=unpack: user(registry, unpack))  # type: ignore[misc]
        for registry, unpack in zip(registries, unpacked, strict=False)
    ]
    for thread in users:
        thread.join()
    over.set()
    collector.join()
    if problems:
        raise problems[0]


def _collect(store: Store) -> None:
    gc.collect(store.db, store.content, store.snapshotters)


def _check(store: Store, registry: FakeRegistry, unpacked: bool) -> None:
    """All that the image refers to is there: blobs with their bytes, snapshots with their files."""
    root = store.images.get(NS, registry.reference).target
    tree = select.stored(store, NS, root, AMD64, registry.reference)
    for item in _blobs(tree):
        assert store.content.blobs.verify(item.digest), item
    if not unpacked:
        return
    top = images.chain_ids(tree.configs[0].diff_ids)[-1]
    folders = store.snapshotter().paths(NS, top)
    shown = {name for folder in folders for name in os.listdir(folder)}
    files = {f"f{number}" for number in range(6)}
    wanted = {f"f{n}" for n in range(6) if sha256(layer(n)) in tree.configs[0].diff_ids}
    assert shown & files == wanted


def _blobs(tree: select.Tree) -> list[images.Descriptor]:
    found = [item for item, _ in (*tree.indexes, *tree.manifests)]
    for _, manifest in tree.manifests:
        found += [manifest.config, *manifest.layers]
    return found
