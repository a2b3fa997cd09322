"""The collector removes what nothing refers to, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinnace.spec import image as images
from pinnace.spec.digest import Digest, sha256
from pinnace.spec.image import Descriptor
from pinnace.store import gc
from pinnace.store.containers import Container
from pinnace.store.images import Image
from pinnace.store.leases import Lease, Resource
from pinnace.store.records import TypedValue
from pinnace.store.store import Store

NS = "default"
PAST, FUTURE = "2001-01-01T00:00:00Z", "2999-01-01T00:00:00.123456789+01:00"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "store")
    yield opened
    opened.close()


def collect(store: Store) -> gc.Stats:
    return gc.collect(store.db, store.content, store.snapshotters)


def blob(store: Store, data: bytes, namespace: str = NS, **labels: str) -> Digest:
    renamed = {f"containerd.io/gc.{key.replace('_', '.')}": value for key, value in labels.items()}
    with store.content.writer(namespace, f"ref-{data!r}") as writer:
        writer.write(data)
        return writer.commit(labels=renamed)


def image(store: Store, digest: Digest, name: str = "x", **labels: str) -> None:
    target = Descriptor(images.OCI_MANIFEST, digest, 1)
    store.images.create(NS, Image(name, target, labels))


def snapshot(store: Store, name: str, parent: str = "", **labels: str) -> None:
    store.snapshotter().prepare(NS, f"{name}-key", parent)
    store.snapshotter().commit(NS, name, f"{name}-key", labels)


def left(store: Store) -> set[str]:
    names = {str(info.digest) for info in store.content.walk(NS)}
    return names | {info.name for info in store.snapshotter().walk(NS)}


def test_an_image_keeps_all_it_needs(store: Store) -> None:
    layer, config = blob(store, b"layer"), blob(store, b"config", ref_snapshot_overlayfs="top")
    manifest = blob(store, b"m", ref_content_config=config, **{"ref_content_l.0": layer})
    snapshot(store, "base")
    snapshot(store, "top", "base")
    image(store, manifest)
    assert collect(store) == gc.Stats()
    assert left(store) == {layer, config, manifest, "base", "top"}
    store.images.delete(NS, "x")
    stats = collect(store)
    assert (stats.content, stats.snapshots, stats.bytes) == (3, 2, len(b"layerconfigm"))
    assert left(store) == set()
    assert list(store.content.blobs.walk()) == []
    assert list(Path(store.snapshotter().root, "snapshots").iterdir()) == []


def test_a_container_keeps_its_snapshot_and_what_is_below(store: Store) -> None:
    snapshot(store, "base")
    store.snapshotter().prepare(NS, "rootfs", "base")
    spec = TypedValue("t", b"{}")
    store.containers.create(
        NS, Container("c", spec, "r", snapshotter="overlayfs", snapshot_key="rootfs")
    )
    collect(store)
    assert left(store) == {"base", "rootfs"}
    store.containers.delete(NS, "c")
    collect(store)
    assert left(store) == set()


def test_leases_hold_with_and_without_what_is_referred_to(store: Store) -> None:
    child = blob(store, b"child")
    parent = blob(store, b"parent", ref_content=child)
    store.leases.create(NS, Lease("flat", {"containerd.io/gc.flat": "1"}))
    store.leases.add_resource(NS, "flat", Resource("content", parent))
    store.leases.create(NS, Lease("full"))
    store.leases.add_resource(NS, "full", Resource("content", parent))
    collect(store)
    assert left(store) == {child, parent}
    store.leases.delete(NS, "full")
    collect(store)
    assert left(store) == {parent}


def test_an_expired_lease_holds_nothing(store: Store) -> None:
    digest = blob(store, b"x")
    store.leases.create(NS, Lease("old", {"containerd.io/gc.expire": PAST}))
    store.leases.add_resource(NS, "old", Resource("content", digest))
    stats = collect(store)
    assert (stats.content, stats.leases) == (1, 1)
    assert store.leases.list(NS) == []


def test_the_next_expiry_is_known(store: Store) -> None:
    assert gc.next_expiry(store.db) is None
    store.leases.create(NS, Lease("late", {"containerd.io/gc.expire": FUTURE}))
    with store.leases.temporary(NS, "pull"):
        assert 86_000 < (gc.next_expiry(store.db) or 0) - time.time() < 86_401
    assert (gc.next_expiry(store.db) or 0) > 32_000_000_000


def test_what_expired_is_told_until_it_was_collected(store: Store) -> None:
    store.leases.create(NS, Lease("old", {"containerd.io/gc.expire": PAST}))
    kept = blob(store, b"kept", expire=PAST)
    image(store, kept)
    assert gc.next_expiry(store.db) == 978307200
    collect(store)
    assert gc.next_expiry(store.db) is None
    assert left(store) == {kept}


def test_expired_images_go(store: Store) -> None:
    kept, gone = blob(store, b"1"), blob(store, b"2")
    image(store, kept, "kept", **{"containerd.io/gc.expire": FUTURE})
    image(store, gone, "gone", **{"containerd.io/gc.expire": PAST})
    assert collect(store).images == 1
    assert [found.name for found in store.images.list(NS)] == ["kept"]
    assert left(store) == {kept}


def test_roots_and_back_references(store: Store) -> None:
    root = blob(store, b"root", root="2026-01-01")
    attached = blob(store, b"attached", bref_content=root)
    lost = blob(store, b"lost", bref_content=sha256(b"nobody"))
    timed = blob(store, b"timed", expire=FUTURE)
    collect(store)
    assert left(store) == {root, attached, timed}
    assert lost not in left(store)


def test_another_namespace_keeps_the_file(store: Store) -> None:
    digest = blob(store, b"shared", "one", root="yes")
    blob(store, b"shared", NS)
    assert collect(store).content == 1
    assert store.content.read("one", digest, 100) == b"shared"


def test_files_without_records_and_lost_ingests_go(store: Store) -> None:
    digest = sha256(b"orphan")
    Path(store.content.blobs.path(digest)).write_bytes(b"orphan")
    store.content.blobs.ingest("default/lost").close()
    with store.content.writer(NS, "active") as writer:
        writer.write(b"1")
        stats = collect(store)
        assert (stats.bytes, stats.ingests) == (6, 1)
        assert [status.ref for status in store.content.statuses(NS)] == ["active"]


def test_an_ingest_that_begins_during_a_collection_is_not_lost(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client has gone for a moment and will resume: nobody holds it while the collector looks."""
    sweep = store.content.sweep

    def begin_and_sweep(found: list[Digest]) -> int:
        with store.content.writer(NS, "new") as writer:
            writer.write(b"part")
        return sweep(found)

    monkeypatch.setattr(store.content, "sweep", begin_and_sweep)
    assert collect(store).ingests == 0
    assert [status.offset for status in store.content.statuses(NS)] == [4]
