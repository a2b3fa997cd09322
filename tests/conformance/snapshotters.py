"""Every snapshotter on a file system that it is for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pinnace.store.btrfs import BtrfsSnapshotter
from pinnace.store.metadata import Database
from pinnace.store.native import NativeSnapshotter
from pinnace.store.overlay import OverlaySnapshotter
from pinnace.store.snapshots import Snapshotter
from tests.disks import file_system

Disk = Callable[[str], Path]
"""The directory of a file system of that kind."""

_KINDS: dict[str, Callable[[Disk, Path, Database], Snapshotter]] = {
    "overlayfs": lambda _, root, db: OverlaySnapshotter(root, db),
    "overlayfs-userxattr": lambda _, root, db: OverlaySnapshotter(root, db, mount_options=("userxattr",)),
    "native": lambda _, root, db: NativeSnapshotter(root, db),
    "native-xfs": lambda disk, root, db: NativeSnapshotter(disk("xfs") / root.parent.name, db),
    "btrfs": lambda disk, root, db: BtrfsSnapshotter(disk("btrfs") / root.parent.name, db),
}  # fmt: skip


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    """Makes file systems when they are asked for, one of a kind."""
    made: dict[str, Path] = {}
    with ExitStack() as stack:

        def get(kind: str) -> Path:
            if kind not in made:
                made[kind] = stack.enter_context(file_system(kind, tmp_path_factory.mktemp("disk")))
            return made[kind]

        yield get


@pytest.fixture(params=_KINDS)
def snapshotter(
    request: pytest.FixtureRequest, disk: Disk, tmp_path: Path
) -> Iterator[Snapshotter]:
    database = Database(tmp_path / "metadata.db")
    yield _KINDS[request.param](disk, tmp_path / "root", database)
    database.close()
