"""Blobs that rot on the card: found, put aside, fetched again, whatever they are and whoever uses them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pinnace.daemon import differ
from pinnace.errors import DataLoss
from pinnace.images.archive import export
from pinnace.images.pull import pull
from pinnace.images.push import push
from pinnace.registry.resolver import Resolver
from pinnace.spec import digest as digests
from pinnace.spec import image as images
from pinnace.spec import platform as platforms
from pinnace.spec.digest import Digest
from pinnace.spec.image import Descriptor
from pinnace.store import gc
from pinnace.store.containers import Container
from pinnace.store.records import TypedValue
from pinnace.store.store import Store
from tests.fakeregistry import FakeRegistry, Handler
from tests.images import TestImage, rootfs
from tests.layers import LayerBuilder

NS = "default"
_LAYER = LayerBuilder().add("big", bytes(range(256)) * 400).bytes()
_IMAGES = {
    name: TestImage(["linux/amd64"], [_LAYER], digest=digest)
    for name, digest in (("sha256", digests.sha256), ("sha512", digests.sha512))
}
_DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "short": lambda data: data[:-1],
    "flipped": lambda data: bytes([data[0] ^ 1]) + data[1:],
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "store")
    yield opened
    opened.close()


@pytest.fixture(params=_IMAGES)
def registry(request: pytest.FixtureRequest) -> Iterator[FakeRegistry]:
    with FakeRegistry(_IMAGES[request.param]) as running:
        yield running


def get(store: Store, registry: FakeRegistry, *, unpack: bool = True) -> None:
    resolver = Resolver(sleep=0.01)
    try:
        amd64 = platforms.parse("linux/amd64")
        pull(store, NS, registry.reference, resolver, platform=amd64, unpack=unpack)
    finally:
        resolver.close()


def spoil(store: Store, digest: Digest, damage: str) -> None:
    path = Path(store.content.blobs.path(digest))
    path.chmod(0o600)
    path.write_bytes(_DAMAGES[damage](path.read_bytes()))


def blob(registry: FakeRegistry, kind: str) -> Descriptor:
    is_kind = {"manifest": images.is_manifest, "config": images.is_config, "layer": images.is_layer}
    return next(item for item, _ in registry.image.blobs if is_kind[kind](item.media_type))


def check_healed(store: Store) -> None:
    assert store.content.blobs.damaged() == []
    for info in store.content.walk(NS):
        assert store.content.blobs.verify(info.digest), info.digest
    gc.collect(store.db, store.content, store.snapshotters)
    assert rootfs(store)["big"] == bytes(range(256)) * 400


@pytest.mark.parametrize("damage", _DAMAGES)
@pytest.mark.parametrize("kind", ["manifest", "config", "layer"])
def test_before_it_is_unpacked(
    store: Store, registry: FakeRegistry, kind: str, damage: str
) -> None:
    get(store, registry, unpack=False)
    spoil(store, blob(registry, kind).digest, damage)
    get(store, registry)
    check_healed(store)


@pytest.mark.parametrize("damage", ["empty", "short"])
@pytest.mark.parametrize("kind", ["manifest", "config", "layer"])
def test_of_an_image_in_use(store: Store, registry: FakeRegistry, kind: str, damage: str) -> None:
    """A container's snapshot goes on standing on the layers; the blob is healed beside it."""
    get(store, registry)
    top = next(info.name for info in store.snapshotter().walk(NS))
    store.snapshotter().prepare(NS, "rootfs", top)
    spec = TypedValue("t", b"{}")
    made = Container("c", spec, "r", snapshotter="overlayfs", snapshot_key="rootfs")
    store.containers.create(NS, made)
    spoil(store, blob(registry, kind).digest, damage)
    get(store, registry)
    store.containers.delete(NS, "c")
    check_healed(store)


def test_flipped_bits_of_a_layer_in_use_are_found_by_whoever_reads_it(
    store: Store, registry: FakeRegistry
) -> None:
    """An unpacked layer is not read by a pull; an export, a push and Diff.Apply read it."""
    layer = blob(registry, "layer")

    def refuse(handler: Handler, path: str) -> bool:
        """A registry that has nothing yet and finds that the bytes are wrong."""
        if not path.startswith("/v2/library/copy/"):
            return False
        handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        if handler.command == "POST":
            return handler.reply(202, b"", {"Location": f"{path}1", "Content-Length": "0"})
        problem = b'{"errors":[{"code":"DIGEST_INVALID","message":"digest invalid"}]}'
        return handler.reply(400 if handler.command == "PUT" else 404, problem)

    def as_export() -> None:
        export(store, NS, [registry.reference], io.BytesIO())

    def as_push() -> None:
        registry.faults.append(refuse)
        resolver = Resolver(sleep=0.01)
        try:
            push(store, NS, registry.reference, f"{registry.host}/library/copy:1", resolver)
        finally:
            registry.faults.clear()
            resolver.close()

    def as_apply() -> None:
        mounts = store.snapshotter().prepare(NS, "again")
        try:
            differ.apply(store.content, NS, layer, mounts)
        finally:
            store.snapshotter().remove(NS, "again")

    get(store, registry)
    for use in (as_export, as_push, as_apply):
        spoil(store, layer.digest, "flipped")
        with pytest.raises(DataLoss):
            use()
        assert store.content.blobs.damaged() == [layer.digest]
        get(store, registry)
        check_healed(store)


def test_what_nobody_refers_to_any_more_leaves_the_quarantine(
    store: Store, registry: FakeRegistry
) -> None:
    get(store, registry)
    layer = blob(registry, "layer")
    spoil(store, layer.digest, "flipped")
    with pytest.raises(DataLoss):
        store.content.examine(layer.digest)
    gc.collect(store.db, store.content, store.snapshotters)
    assert store.content.blobs.damaged() == [layer.digest]
    store.images.delete(NS, registry.reference)
    gc.collect(store.db, store.content, store.snapshotters)
    assert store.content.blobs.damaged() == []
