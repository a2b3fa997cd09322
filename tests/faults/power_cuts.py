"""Power cuts at any moment of pulling, unpacking, deleting and collecting: what was reported stays true.

A pull runs on an ext4 whose block writes are recorded (:mod:`tests.faults.block_log`). Then the disk is made
as a cut would have left it at many moments, mounted (which replays ext4's journal), and the store is checked
whole. Run by ``test_power_cut.py``, or by hand:

    PYTHONPATH=.:runtime unshare --mount python -m tests.faults.power_cuts CUTS [SEED]

It needs a mount namespace of its own: a copy of a mount in anybody else's would keep the disk of the last cut
in use while the next is made.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import random
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pinnace.images.pull import pull
from pinnace.registry.resolver import Resolver
from pinnace.spec import image as images
from pinnace.spec import platform as platforms
from pinnace.spec.digest import Digest, sha256
from pinnace.store import gc
from pinnace.store.store import Store
from tests.fakeregistry import FakeRegistry
from tests.faults.block_log import BlockLog, PowerCuts, file_system, make_ext4, mounted, recorded
from tests.images import TestImage
from tests.layers import LayerBuilder

_NAMESPACE = "default"
_PLATFORM = platforms.parse("linux/amd64")
_DISK_BYTES = 24 << 20


class Promise(NamedTuple):
    """From ``since`` on (until ``until``) the image or blob was reported as stored and nobody removed it."""

    name: str
    since: int
    until: int


def _image(seed: int) -> TestImage:
    chance = random.Random(seed)
    layers = []
    for layer in range(3):
        builder = LayerBuilder()
        for number in range(8):
            builder.add(
                f"d{layer}/f{number}", chance.randbytes(chance.choice((0, 10, 5000, 90_000)))
            )
        layers.append(builder.bytes())
    return TestImage(["linux/amd64"], layers)


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory in memory, where there is one: the disks are copied many times."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="power-cut-", dir=base) as path:
        yield Path(path)


def get(store: Store, registry: FakeRegistry) -> None:
    resolver = Resolver(sleep=0.01)
    try:
        pull(store, _NAMESPACE, registry.reference, resolver, platform=_PLATFORM)
    finally:
        resolver.close()


def collect(store: Store) -> None:
    gc.collect(store.db, store.content, store.snapshotters)


def ingest(store: Store, data: bytes) -> Digest:
    """Content of a client's, that no image refers to."""
    digest = sha256(data)
    labels = {"containerd.io/gc.root": "now"}
    with store.content.writer(_NAMESPACE, f"upload-{digest}") as writer:
        writer.write(data)
        writer.commit(len(data), digest, labels)
    return digest


def live(root: Path, log: BlockLog, first: FakeRegistry, second: FakeRegistry) -> list[Promise]:
    """What happens on the board: two pulls, a removal, a collection, a pull again."""
    promises: dict[str, int] = {}
    kept: list[Promise] = []

    def pulled(registry: FakeRegistry) -> None:
        get(store, registry)
        promises[registry.reference] = log.now()

    def removed(registry: FakeRegistry) -> None:
        kept.append(Promise(registry.reference, promises.pop(registry.reference), log.now()))
        store.images.delete(_NAMESPACE, registry.reference)

    store = Store(root)
    pulled(first)
    for number in range(4):
        digest = ingest(store, os.urandom(50_000 * number + 7))
        promises[str(digest)] = log.now()
    pulled(second)
    removed(first)
    collect(store)
    pulled(first)
    store.close()
    Store(root).close()
    end = log.now()
    return kept + [Promise(name, since, end) for name, since in promises.items()]


def check(root: Path, moment: int, promises: list[Promise], registries: list[FakeRegistry]) -> None:
    """The store opens, what it shows is whole, what was promised is there, and the next pull heals."""
    with contextlib.closing(Store(root)) as store:
        check_store(store, moment, promises, registries)


def check_store(
    store: Store, moment: int, promises: list[Promise], registries: list[FakeRegistry]
) -> None:
    assert not store.notice, store.notice
    names = {image.name for image in store.images.list(_NAMESPACE)}
    names |= {str(info.digest) for info in store.content.walk(_NAMESPACE)}
    for promise in promises:
        if promise.since <= moment < promise.until:
            assert promise.name in names, f"{promise.name} was reported as stored and is lost"
    check_content(store)
    for registry in registries:
        if registry.reference in names:
            check_unpacked(store, registry.image)
    collect(store)
    check_content(store)
    for registry in registries:
        get(store, registry)
        check_unpacked(store, registry.image)


def check_content(store: Store) -> None:
    for info in store.content.walk(_NAMESPACE):
        assert store.content.blobs.verify(info.digest), f"{info.digest} is not what it is called"


def check_unpacked(store: Store, image: TestImage) -> None:
    """Every layer's snapshot holds the layer's files, byte by byte."""
    layers = [
        gzip.decompress(data) for item, data in image.blobs if images.is_layer(item.media_type)
    ]
    chain = images.chain_ids(tuple(sha256(layer) for layer in layers))
    for name, layer in zip(chain, layers, strict=True):
        folder = Path(store.snapshotter().paths(_NAMESPACE, str(name))[0])
        with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
            for member in archive.getmembers():
                content = archive.extractfile(member)
                assert content is not None
                assert (folder / member.name).read_bytes() == content.read(), member.name


def run(count: int, seed: int) -> str:
    """Record, cut ``count`` times, check each; what was done. Raises AssertionError for the first broken promise."""
    chance = random.Random(seed)
    with (
        scratch() as work,
        FakeRegistry(_image(1)) as first,
        FakeRegistry(_image(2)) as second,
    ):
        disk, base = work / "disk", work / "base"
        make_ext4(disk, _DISK_BYTES)
        base.write_bytes(disk.read_bytes())
        with (
            recorded(disk, work / "log") as (device, log),
            file_system(device, work / "mnt") as root,
        ):
            promises = live(root / "store", log, first, second)
        writes = log.read()
        cuts = PowerCuts(base, writes, chance)
        moments = sorted(chance.choice(writes)[0] for _ in range(count))
        tested = sum(p.since <= moment < p.until for p in promises for moment in moments)
        for number, moment in enumerate(moments):
            cuts.cut(moment, work / "cut")
            with mounted(work / "cut", work / "mnt") as root:
                try:
                    check(root / "store", moment, promises, [first, second])
                except Exception as problem:
                    raise AssertionError(f"cut {number}, at {moment} of {log.now()}") from problem
        flushes = sum(write.is_flush for _, write in writes)
        return (
            f"{count} cuts in {len(writes)} writes with {flushes} flushes: {tested} promises held"
        )


if __name__ == "__main__":
    words = [int(word) for word in sys.argv[1:]]
    print(run(words[0], words[1] if len(words) > 1 else random.randrange(1 << 30)))
