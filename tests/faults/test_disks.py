"""Real file systems that fill up, have quotas, turn read-only or fail: one clear error, the space back, a valid store."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pinnace.errors import DataLoss, Error, FailedPrecondition, ResourceExhausted
from pinnace.linux import mount
from pinnace.store import gc
from pinnace.store.store import Store
from tests.disks import file_system, own_mounts, program
from tests.fakeregistry import FakeRegistry
from tests.faults.block_log import file_system as on_device
from tests.faults.block_log import make_ext4, recorded
from tests.faults.test_store import NOISE, NS, check_whole, free, get
from tests.images import rootfs

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def own_namespace() -> Iterator[None]:
    with own_mounts():
        yield


@pytest.fixture
def registry(own_namespace: None) -> Iterator[FakeRegistry]:
    with FakeRegistry(NOISE) as running:
        yield running


def check_left(root: Path, registry: FakeRegistry) -> None:
    """After a restart: nothing half is visible, and the next pull works."""
    with closing(Store(root)) as store:
        assert not store.notice
        check_whole(store)
        gc.collect(store.db, store.content, store.snapshotters)
        get(store, registry)
        check_whole(store)
        assert len(rootfs(store)) == 7


def collect(store: Store) -> None:
    gc.collect(store.db, store.content, store.snapshotters)


@pytest.mark.parametrize("kind", ["ext4", "btrfs"])
def test_a_disk_that_fills_up_anywhere(tmp_path: Path, registry: FakeRegistry, kind: str) -> None:
    """With ever more space: the pull fails in another place each time, until it succeeds."""
    with file_system(kind, tmp_path) as disk:
        failures = 0
        store = Store(disk / "store")
        ballast = disk / "ballast"
        for room in (400_000, 1_500_000, 3_000_000, 20_000_000):
            fill(ballast, room)
            before = free(disk)
            problem = failure(store, registry)
            if problem:
                failures += 1
                assert "o space left" in problem.message
                assert "ctr image rm" in problem.hint
                assert store.images.list(NS) == []
                assert store.leases.list(NS) == []
                check_whole(store)
                collect(store)
                os.sync()
                assert free(disk) > before - 600_000  # the database's log, and the file system's
        ballast.unlink()
        store.close()
        assert 1 <= failures <= 3
        check_left(disk / "store", registry)


def failure(store: Store, registry: FakeRegistry) -> ResourceExhausted | None:
    """Why a pull failed; nothing if it did not."""
    try:
        get(store, registry)
    except ResourceExhausted as problem:
        return problem
    return None


def fill(ballast: Path, room: int) -> None:
    """Let a file take all of the disk but *room* bytes."""
    ballast.unlink(missing_ok=True)
    os.sync()
    fd = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    step = free(ballast.parent) - room
    while step > 4096:
        try:
            os.posix_fallocate(fd, os.fstat(fd).st_size, step)
        except OSError:  # what is free is not all for data
            step //= 2
        os.fsync(fd)
        step = min(step, free(ballast.parent) - room)
    os.close(fd)


def test_a_quota(tmp_path: Path, registry: FakeRegistry) -> None:
    """Of btrfs, which holds for root, too."""
    with file_system("btrfs", tmp_path) as disk:
        place = disk / "limited"
        btrfs("subvolume", "create", place)
        btrfs("quota", "enable", disk)
        btrfs("qgroup", "limit", "3M", place)
        with closing(Store(place / "store")) as store:
            with pytest.raises(ResourceExhausted, match=r"(?i)quota|space left") as caught:
                get(store, registry)
            assert "ctr image rm" in caught.value.hint
            assert store.images.list(NS) == []
            check_whole(store)
            collect(store)
        btrfs("qgroup", "limit", "none", place)
        check_left(place / "store", registry)


def btrfs(*words: str | Path) -> None:
    command = [*program("btrfs-progs", "usr/bin/btrfs"), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_file_system_that_gives_up_while_it_is_used(
    tmp_path: Path, registry: FakeRegistry
) -> None:
    """ext4 after an error of its own: what is open for writing stays open, and nothing can be written."""
    with file_system("ext4", tmp_path) as disk:
        store = Store(disk / "store")
        mount.mount("none", str(disk), "ext4", mount.MS_REMOUNT, "abort")
        with pytest.raises(Error, match=r"(?i)read-only|readonly|I/O error") as caught:
            get(store, registry)
        assert isinstance(caught.value, FailedPrecondition | DataLoss)
        assert caught.value.hint
        store.close()
        with pytest.raises(Error):
            Store(disk / "store")


@pytest.mark.parametrize("moment", ["before", "while it downloads"])
def test_a_disk_that_fails_to_write(tmp_path: Path, registry: FakeRegistry, moment: str) -> None:
    image, broken = tmp_path / "disk.img", tmp_path / "broken"
    make_ext4(image, 32 << 20)
    with recorded(image, tmp_path / "log", broken) as (device, _):
        with on_device(device, tmp_path / "disk") as disk, closing(Store(disk / "store")) as store:
            os.sync()
            if moment == "before":
                broken.touch()
            else:
                registry.faults.append(lambda *_: bool(broken.touch()))
            with pytest.raises(Error, match=r"(?i)input/output|I/O error|read-only") as caught:
                get(store, registry)
            assert isinstance(caught.value, FailedPrecondition | DataLoss)
            assert caught.value.hint
        registry.faults.clear()
        broken.unlink()
        with on_device(device, tmp_path / "disk") as disk:
            check_left(disk / "store", registry)
