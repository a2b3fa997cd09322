"""The store on disks that fill up or turn read-only, and in processes that are killed."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pinnace.errors import Error, FailedPrecondition, ResourceExhausted
from pinnace.images.pull import pull
from pinnace.linux import mount
from pinnace.registry.resolver import Resolver
from pinnace.spec import image as images
from pinnace.spec import platform as platforms
from pinnace.store import gc
from pinnace.store.store import Store
from tests.fakeregistry import FakeRegistry, Handler
from tests.images import TestImage, rootfs
from tests.layers import LayerBuilder

NS = "default"
AMD64 = platforms.parse("linux/amd64")
ZEROS = TestImage(["linux/amd64"], [LayerBuilder().add("zeros", bytes(8 << 20)).bytes()])
NOISE = TestImage(
    ["linux/amd64"],
    [LayerBuilder().add(f"f{n}", os.urandom(300_000)).bytes() for n in range(6)],
)


@contextmanager
def disk_of(path: Path, size: str) -> Iterator[Path]:
    """A small file system of its own."""
    path.mkdir()
    mount.mount("tmpfs", str(path), "tmpfs", 0, f"size={size}")
    try:
        yield path
    finally:
        mount.unmount_all(str(path))


def free(path: Path) -> int:
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def get(store: Store, registry: FakeRegistry) -> None:
    resolver = Resolver(sleep=0.01)
    try:
        pull(store, NS, registry.reference, resolver, platform=AMD64)
    finally:
        resolver.close()


def check_whole(store: Store) -> None:
    """What is recorded is there, and is what it is called."""
    for info in store.content.walk(NS):
        assert store.content.blobs.verify(info.digest), info.digest
    for info_ in store.snapshotter().walk(NS):
        assert os.path.isdir(store.snapshotter().paths(NS, info_.name)[0])


@pytest.mark.root
@pytest.mark.parametrize("image", [ZEROS, NOISE], ids=["while unpacking", "while downloading"])
def test_a_disk_that_fills_up(tmp_path: Path, image: TestImage) -> None:
    """The error says so, the space comes back, the store works on."""
    with disk_of(tmp_path / "disk", "1500k") as disk, FakeRegistry(image) as registry:
        store = Store(disk / "store")
        before = free(disk)
        with pytest.raises(ResourceExhausted, match=r"(?i)no space left") as caught:
            get(store, registry)
        assert "ctr image rm" in caught.value.hint
        assert store.images.list(NS) == []
        assert store.leases.list(NS) == []
        check_whole(store)
        gc.collect(store.db, store.content, store.snapshotters)
        store.close()
        assert free(disk) > before - 300_000  # the database's log has grown a little
        Store(disk / "store").close()


@pytest.mark.root
def test_a_disk_that_turns_read_only(tmp_path: Path) -> None:
    with disk_of(tmp_path / "disk", "30m") as disk, FakeRegistry(ZEROS) as registry:
        store = Store(disk / "store")
        get(store, registry)
        flags = mount.MS_REMOUNT | mount.MS_RDONLY
        store.close()
        mount.mount("tmpfs", str(disk), "tmpfs", flags)
        with pytest.raises(FailedPrecondition, match=r"metadata\.db|Read-only"):
            Store(disk / "store")
        with pytest.raises(FailedPrecondition, match="Read-only file system"):
            Store(disk / "another")


def slowly(handler: Handler, path: str) -> bool:
    """Layers in small pieces, so that there is time to be killed in."""
    if "/blobs/" not in path:
        return False
    digest = path.rpartition("/")[2]
    data = next(data for item, data in handler.owner.image.blobs if item.digest == digest)
    start = int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
    headers = {"Content-Length": str(len(data) - start)}
    if start:
        headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
    handler.reply(206 if start else 200, b"", headers)
    for at in range(start, len(data), 30_000):
        handler.wfile.write(data[at : at + 30_000])
        time.sleep(0.001)
    return True


def test_a_daemon_killed_while_it_pulls(tmp_path: Path) -> None:
    """Killed at random moments: never a visible image that is not whole, and the next pull heals."""
    chance = random.Random(6)
    with FakeRegistry(NOISE) as registry:
        registry.faults.append(slowly)
        outcomes = set()
        for attempt in range(12):
            root = tmp_path / str(attempt // 4)
            child = os.fork()
            if child == 0:
                try:
                    get(Store(root), registry)
                finally:
                    os._exit(0)
            time.sleep(chance.uniform(0.02, 0.5))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            store = Store(root)
            check_whole(store)
            names = [image.name for image in store.images.list(NS)]
            outcomes.add(bool(names))
            if names:
                assert rootfs(store)["platform"] == b"linux/amd64"
            gc.collect(store.db, store.content, store.snapshotters)
            check_whole(store)
            store.close()
        registry.faults.clear()
        store = Store(tmp_path / "0")
        get(store, registry)
        assert len(rootfs(store)) == 7
        store.close()
    assert outcomes == {True, False}


def test_an_interrupted_download_is_resumed_after_a_restart(tmp_path: Path) -> None:
    with FakeRegistry(NOISE) as registry:
        layer = next(item for item, _ in NOISE.blobs if images.is_layer(item.media_type))

        def cut(handler: Handler, path: str) -> bool:
            if not path.endswith(layer.digest):
                return False
            data = next(data for item, data in NOISE.blobs if item.digest == layer.digest)
            handler.reply(200, data[:100_000], {"Content-Length": str(len(data))})
            handler.hang_up()
            registry.faults.append(lambda handler, path: handler.reply(404))
            return True

        registry.once(cut)
        store = Store(tmp_path / "store")
        with pytest.raises(Error):
            get(store, registry)
        store.close()
        registry.faults.clear()
        registry.requests.clear()
        store = Store(tmp_path / "store")
        get(store, registry)
        store.close()
        ranges = [
            headers.get("Range")
            for _, path, headers in registry.requests
            if path.endswith(layer.digest)
        ]
    assert ranges == ["bytes=100000-"]
