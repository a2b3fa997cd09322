"""What only root and the kernel can show: owners, devices, capabilities, overlayfs."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pinnace.images import diff, unpack
from pinnace.linux import btrfs, mount
from pinnace.store.btrfs import BtrfsSnapshotter
from pinnace.store.metadata import Database
from pinnace.store.native import NativeSnapshotter
from pinnace.store.overlay import OverlaySnapshotter
from pinnace.store.snapshots import Snapshotter
from pinnace.store.store import Store
from tests.conformance.snapshotters import disk, snapshotter
from tests.layers import Entry, LayerBuilder, listing
from tests.snapshotter_suite import SnapshotterSuite

__all__ = ["disk", "snapshotter"]
pytestmark = pytest.mark.root
NS = "default"


@contextmanager
def shown(snapshotter: Snapshotter, key: str, at: Path) -> Iterator[Path]:
    at.mkdir(exist_ok=True)
    mount.mount_all(snapshotter.mounts(NS, key), str(at))
    try:
        yield at
    finally:
        mount.unmount_all(str(at))


def stack(snapshotter: Snapshotter, *layers: LayerBuilder) -> str:
    """Apply layers one upon the other, as ctr does; the key of a view of the result."""
    parent = ""
    for number, layer in enumerate(layers):
        mounts = snapshotter.prepare(NS, f"key{number}", parent)
        unpack.apply(io.BytesIO(layer.bytes()), mounts)
        snapshotter.commit(NS, f"layer{number}", f"key{number}")
        parent = f"layer{number}"
    snapshotter.view(NS, "view", parent)
    return "view"


class TestOnRealFileSystems(SnapshotterSuite):
    """Records and directories of each, too."""


def names(tree: dict[str, Entry]) -> set[str]:
    return set(tree)


def test_owners_devices_and_capabilities(snapshotter: Snapshotter, tmp_path: Path) -> None:
    # VFS_CAP_REVISION_2 with cap_net_raw, effective (linux/capability.h).
    capability = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
    layer = (
        LayerBuilder()
        .directory("dev", owner=(1, 2))
        .add("dev/null", kind=tarfile.CHRTYPE, device=(1, 3), mode=0o666)
        .add("dev/sda", kind=tarfile.BLKTYPE, device=(8, 0), mode=0o660, owner=(0, 6))
        .add("su", b"x", mode=0o6755, owner=(5, 7))
        .add(
            "ping",
            b"x",
            mode=0o755,
            pax={"SCHILY.xattr.security.capability": capability.decode("utf-8", "surrogateescape")},
        )
    )
    with shown(snapshotter, stack(snapshotter, layer), tmp_path / "mnt") as root:
        found = listing(root)
        assert found["dev"][1:3] == (1, 2)
        assert found["dev/null"][4] == os.makedev(1, 3)
        assert (found["dev/null"][0], found["dev/sda"][0]) == ("0o20666", "0o60660")
        assert found["su"][:3] == ("0o106755", 5, 7)
        assert os.getxattr(root / "ping", "security.capability") == capability


def test_whiteouts_and_opaque_directories(snapshotter: Snapshotter, tmp_path: Path) -> None:
    lower = (
        LayerBuilder()
        .add("gone", b"1")
        .add("d/hidden", b"1")
        .add("e/f", b"1")
        .add("replaced/old", b"1")
        .add("file", b"1")
        .directory("dir-to-file")
        .add("dir-to-file/x")
    )
    upper = (
        LayerBuilder()
        .add(".wh.gone")
        .directory("d")
        .add("d/.wh..wh..opq")
        .add("d/new", b"2")
        .add("e/.wh.f")
        .add(".wh.replaced")
        .directory("replaced")
        .add("replaced/new", b"2")
        .directory("file")
        .add("file/now-a-directory", b"2")
        .add("dir-to-file", b"2")
    )
    with shown(snapshotter, stack(snapshotter, lower, upper), tmp_path / "mnt") as root:
        assert names(listing(root)) == {
            "d", "d/new", "e", "replaced", "replaced/new", "file", "file/now-a-directory",
            "dir-to-file",
        }  # fmt: skip


def test_all_snapshotters_show_the_same(disk: Callable[[str], Path], tmp_path: Path) -> None:
    layers = [
        LayerBuilder().directory("a").add("a/x", b"1").add("b", b"1").hard_link("c", "b"),
        LayerBuilder().add("a/y", b"2").add(".wh.b").symlink("d", "a"),
        LayerBuilder().add("a/.wh.x").add("b", b"3", owner=(3, 3)),
    ]
    trees = []
    for kind in (OverlaySnapshotter, NativeSnapshotter, BtrfsSnapshotter):
        database = Database(tmp_path / f"{kind.name}.db")
        place = disk("btrfs") if kind is BtrfsSnapshotter else tmp_path
        snapshotter = kind(place / "same", database)
        with shown(snapshotter, stack(snapshotter, *layers), tmp_path / "mnt") as root:
            trees.append(listing(root))
        database.close()
    for tree in trees:  # inherited directories of overlayfs keep the time of their own layer
        tree["a"] = (*tree["a"][:3], 0, *tree["a"][4:])
    assert trees[0] == trees[1] == trees[2]


def test_rename_inside_and_a_diff_of_it(snapshotter: Snapshotter, tmp_path: Path) -> None:
    """A directory renamed in a container: without redirect_dir the kernel copies it up."""
    stack(snapshotter, LayerBuilder().directory("old").add("old/x", b"1").add("gone", b"1"))
    snapshotter.prepare(NS, "work", "layer0")
    with shown(snapshotter, "work", tmp_path / "mnt") as root:
        subprocess.run(["mv", root / "old", root / "new"], check=True)
        (root / "gone").unlink()
        (root / "made").write_text("2")
    out = io.BytesIO()
    mounts = snapshotter.mounts(NS, "view"), snapshotter.mounts(NS, "work")
    summary = diff.diff_mounts(*mounts, out, compress=True)
    mounts_again = snapshotter.prepare(NS, "again", "layer0")
    out.seek(0)
    assert unpack.apply(out, mounts_again).diff_id == summary.diff_id
    with (
        shown(snapshotter, "again", tmp_path / "mnt") as root,
        shown(snapshotter, "work", tmp_path / "mnt2") as other,
    ):
        assert names(listing(root)) == {"new", "new/x", "made"}
        assert listing(root)["new/x"] == listing(other)["new/x"]


def test_a_container_keeps_its_changes_to_itself(snapshotter: Snapshotter, tmp_path: Path) -> None:
    stack(snapshotter, LayerBuilder().add("a", b"1"))
    for key in ("one", "two"):
        snapshotter.prepare(NS, key, "layer0")
    with shown(snapshotter, "one", tmp_path / "mnt") as root:
        (root / "a").write_bytes(b"changed")
    with shown(snapshotter, "two", tmp_path / "mnt") as root:
        assert (root / "a").read_bytes() == b"1"


def test_a_view_is_read_only(snapshotter: Snapshotter, tmp_path: Path) -> None:
    key = stack(snapshotter, LayerBuilder().add("a", b"1"))
    with (
        shown(snapshotter, key, tmp_path / "mnt") as root,
        pytest.raises(OSError, match="Read-only"),
    ):
        (root / "b").touch()


def test_many_layers(snapshotter: Snapshotter, tmp_path: Path) -> None:
    """More lower directories than fit into one page of mount options."""
    layers = [LayerBuilder().add(f"f{number}", b"1") for number in range(60)]
    with shown(snapshotter, stack(snapshotter, *layers), tmp_path / "mnt") as root:
        assert len(names(listing(root))) == 60


def test_holes_attributes_and_links_survive_copies(
    snapshotter: Snapshotter, tmp_path: Path
) -> None:
    """What a container leaves is there in the next snapshot as it was."""
    stack(snapshotter, LayerBuilder().add("plain", b"1").hard_link("linked", "plain"))
    snapshotter.prepare(NS, "work", "layer0")
    with shown(snapshotter, "work", tmp_path / "mnt") as root:
        with (root / "sparse").open("wb") as file:
            file.seek(8 << 20)
            file.write(b"end")
        os.setxattr(root / "sparse", "user.note", b"kept")
        os.chown(root / "sparse", 3, 4)
    snapshotter.commit(NS, "worked", "work")
    snapshotter.prepare(NS, "next", "worked")
    with shown(snapshotter, "next", tmp_path / "mnt") as root:
        status = (root / "sparse").stat()
        assert (status.st_uid, status.st_gid, status.st_size) == (3, 4, (8 << 20) + 3)
        assert status.st_blocks * 512 < 1 << 20
        assert os.getxattr(root / "sparse", "user.note") == b"kept"
        assert (root / "plain").samefile(root / "linked")


def test_changes_of_lower_files_and_directories(snapshotter: Snapshotter, tmp_path: Path) -> None:
    """Moved, changed in mode and owner, removed and made again: seen in children, not in parents."""
    lower = LayerBuilder().directory("d").add("d/f", b"1").add("moved", b"1").add("looks", b"1")
    stack(snapshotter, lower)
    snapshotter.prepare(NS, "work", "layer0")
    with shown(snapshotter, "work", tmp_path / "mnt") as root:
        (root / "moved").rename(root / "d" / "moved")
        os.chown(root / "looks", 5, 6)
        os.chmod(root / "looks", 0o640)
        (root / "d" / "f").unlink()
        os.chmod(root, 0o711)
    snapshotter.commit(NS, "worked", "work")
    snapshotter.view(NS, "after", "worked")
    with shown(snapshotter, "after", tmp_path / "mnt") as root:
        found = listing(root)
        assert names(found) == {"d", "d/moved", "looks"}
        assert found["looks"][:3] == ("0o100640", 5, 6)
        assert root.stat().st_mode & 0o7777 == 0o711
    with shown(snapshotter, "view", tmp_path / "mnt") as root:
        assert names(listing(root)) == {"d", "d/f", "moved", "looks"}


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_the_native_snapshotter_copies_by_reference(
    disk: Callable[[str], Path], tmp_path: Path, kind: str
) -> None:
    place = disk(kind)
    database = Database(tmp_path / "metadata.db")
    snapshotter = NativeSnapshotter(place / "reflinks", database)
    stack(snapshotter, LayerBuilder().add("big", os.urandom(16 << 20)))
    os.sync()
    before = os.statvfs(place)
    for number in range(3):
        snapshotter.prepare(NS, f"copy{number}", "layer0")
    os.sync()
    after = os.statvfs(place)
    database.close()
    assert (before.f_bfree - after.f_bfree) * before.f_frsize < 4 << 20


def test_btrfs_counts_what_a_snapshot_changed(disk: Callable[[str], Path], tmp_path: Path) -> None:
    database = Database(tmp_path / "metadata.db")
    snapshotter = BtrfsSnapshotter(disk("btrfs") / "usage", database)
    stack(snapshotter, LayerBuilder().add("big", os.urandom(4 << 20)).directory("d"))
    snapshotter.prepare(NS, "work", "layer0")
    own = Path(snapshotter.paths(NS, "work")[0])
    assert snapshotter.usage(NS, "work").size == 0
    (own / "d" / "new").write_bytes(os.urandom(1 << 20))
    os.sync()
    assert 1 << 20 <= snapshotter.usage(NS, "work").size < 2 << 20
    nested = own / "nested"
    btrfs.create(str(nested))  # as a container may, which has the right to
    (nested / "file").write_text("x")
    snapshotter.remove(NS, "work")
    database.close()
    assert not own.exists()


def test_a_store_on_btrfs_offers_its_snapshotter(disk: Callable[[str], Path]) -> None:
    store = Store(disk("btrfs") / "store")
    names = set(store.snapshotters)
    store.close()
    assert names == {"overlayfs", "native", "btrfs"}
