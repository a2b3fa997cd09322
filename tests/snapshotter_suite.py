"""One suite for every snapshotter: semantics, records and directories; what mounts show is in `test_layers.py`.

Modelled on the rules of containerd's `core/snapshots/snapshotter.go`. Who runs it gives the fixture `snapshotter`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pinnace.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from pinnace.store.leases import Lease, LeaseStore
from pinnace.store.snapshots import Snapshotter, StagedLayer
from pinnace.store.usage import Usage

NS = "default"


def layer(snapshotter: Snapshotter, name: str, parent: str = "", file: str = "") -> None:
    snapshotter.prepare(NS, f"{name}-key", parent)
    Path(snapshotter.paths(NS, f"{name}-key")[0], file or name).write_text(name)
    snapshotter.commit(NS, name, f"{name}-key", {"made": name})


class SnapshotterSuite:
    """What holds for every snapshotter."""

    def test_prepare_commit_and_build_upon(self, snapshotter: Snapshotter) -> None:
        layer(snapshotter, "one")
        layer(snapshotter, "two", "one")
        info = snapshotter.stat(NS, "two")
        assert (info.kind, info.parent, info.labels) == ("committed", "one", {"made": "two"})
        assert len(snapshotter.paths(NS, "two")) == 2
        with pytest.raises(NotFound):
            snapshotter.stat(NS, "two-key")

    def test_mounts(self, snapshotter: Snapshotter) -> None:
        layer(snapshotter, "one")
        layer(snapshotter, "two", "one")
        first = snapshotter.prepare(NS, "first")
        assert [(m.type, m.options) for m in first] == [("bind", ("rw", "rbind"))]
        assert snapshotter.mounts(NS, "first") == first
        view = snapshotter.view(NS, "view", "one")
        assert [(m.type, m.options) for m in view] == [("bind", ("ro", "rbind"))]
        both = snapshotter.prepare(NS, "both", "two")[0]
        if snapshotter.name == "overlayfs":
            options = dict(o.partition("=")[::2] for o in both.options)
            assert both.type == "overlay"
            assert options["lowerdir"] == ":".join(snapshotter.paths(NS, "two"))
            assert options["upperdir"] == snapshotter.paths(NS, "both")[0]
            assert Path(options["workdir"]).is_dir()
        else:
            assert {p.name for p in Path(both.source).iterdir()} == {"one", "two"}
        with pytest.raises(FailedPrecondition, match="not active or view"):
            snapshotter.mounts(NS, "one")

    def test_names_are_used_once(self, snapshotter: Snapshotter) -> None:
        layer(snapshotter, "one")
        snapshotter.prepare(NS, "key", "one")
        with pytest.raises(AlreadyExists, match='snapshot "key": already exists'):
            snapshotter.prepare(NS, "key")
        with pytest.raises(AlreadyExists, match='target snapshot "one"'):
            snapshotter.prepare(NS, "new", "", {"containerd.io/snapshot.ref": "one"})
        with pytest.raises(AlreadyExists):
            snapshotter.commit(NS, "one", "key")
        snapshotter.prepare("other", "key")

    def test_parents_are_committed(self, snapshotter: Snapshotter) -> None:
        snapshotter.prepare(NS, "active")
        snapshotter.view(NS, "view")
        with pytest.raises(InvalidArgument, match="not committed"):
            snapshotter.prepare(NS, "x", "active")
        with pytest.raises(NotFound, match="parent snapshot nobody"):
            snapshotter.prepare(NS, "x", "nobody")
        with pytest.raises(FailedPrecondition, match="not active"):
            snapshotter.commit(NS, "x", "view")
        assert {info.name for info in snapshotter.walk(NS)} == {"active", "view"}

    def test_remove_refuses_what_others_stand_on(self, snapshotter: Snapshotter) -> None:
        layer(snapshotter, "one")
        layer(snapshotter, "two", "one")
        with pytest.raises(FailedPrecondition, match="with child"):
            snapshotter.remove(NS, "one")
        directory = Path(snapshotter.paths(NS, "two")[0])
        snapshotter.remove(NS, "two")
        assert not directory.exists()
        snapshotter.remove(NS, "one")
        assert list(Path(snapshotter.root, "snapshots").iterdir()) == []
        with pytest.raises(NotFound, match="snapshot one does not exist"):
            snapshotter.remove(NS, "one")

    def test_usage_counts_blocks_and_inodes(self, snapshotter: Snapshotter) -> None:
        snapshotter.prepare(NS, "key")
        path = Path(snapshotter.paths(NS, "key")[0])
        before = snapshotter.usage(NS, "key")
        (path / "big").write_bytes(b"x" * 100_000)
        os.link(path / "big", path / "same")
        after = snapshotter.usage(NS, "key")
        assert after.inodes - before.inodes == 1
        assert 98_304 <= after.size - before.size <= 200_000
        snapshotter.commit(NS, "done", "key")
        assert snapshotter.usage(NS, "done") == after

    def test_walk_and_labels(self, snapshotter: Snapshotter) -> None:
        layer(snapshotter, "one")
        snapshotter.prepare(NS, "key", "one", {"a": "b"})
        assert [i.name for i in snapshotter.walk(NS, ["kind==active"])] == ["key"]
        assert [i.name for i in snapshotter.walk(NS, ["parent==one"])] == ["key"]
        assert [i.name for i in snapshotter.walk(NS, ["labels.a==b"])] == ["key"]
        assert snapshotter.update(NS, "key", {"a": "c"}, ["labels.a"]).labels == {"a": "c"}
        assert list(snapshotter.walk("other")) == []

    def test_a_lease_follows_the_commit(self, snapshotter: Snapshotter) -> None:
        leases = LeaseStore(snapshotter.db)
        leases.create(NS, Lease("l"))
        snapshotter.prepare(NS, "key", lease="l")
        snapshotter.commit(NS, "name", "key", lease="l")
        assert leases.resources(NS, "l") == ((f"snapshots/{snapshotter.name}", "name"),)

    def test_cleanup_brings_records_and_directories_together(
        self, snapshotter: Snapshotter
    ) -> None:
        layer(snapshotter, "one")
        snapshotter.prepare(NS, "lost")
        snapshots = Path(snapshotter.root, "snapshots")
        lost = Path(snapshotter.paths(NS, "lost")[0]).parent
        lost.rename(snapshots / "999")
        snapshotter.stage()
        assert snapshotter.cleanup() == 2
        assert [info.name for info in snapshotter.walk(NS)] == ["one"]
        assert len(list(snapshots.iterdir())) == 1

    def test_staged_layers_become_a_chain_together(self, snapshotter: Snapshotter) -> None:
        layer(snapshotter, "one")
        kept = snapshotter.paths(NS, "one")[0]
        first = snapshotter.stage()
        Path(snapshotter.data_of(first), "a").write_text("a")
        second = snapshotter.stage(snapshotter.data_of(first))
        Path(snapshotter.data_of(second), "b").write_text("b")
        third = snapshotter.stage()
        layers = [
            StagedLayer(third, "one", "", {}, Usage(1, 0)),
            StagedLayer(first, "a", "", {"l": "1"}, Usage(2, 4096)),
            StagedLayer(second, "b", "a", {}, Usage(3, 4096)),
        ]
        snapshotter.adopt(NS, layers)
        assert snapshotter.paths(NS, "one")[0] == kept
        assert snapshotter.stat(NS, "b").parent == "a"
        assert snapshotter.usage(NS, "b") == Usage(3, 4096)
        assert Path(snapshotter.paths(NS, "b")[1], "a").read_text() == "a"
        with pytest.raises(AlreadyExists):
            snapshotter.prepare(NS, "b")

    def test_the_root_directory_looks_like_the_parents(self, snapshotter: Snapshotter) -> None:
        snapshotter.prepare(NS, "key")
        os.chmod(snapshotter.paths(NS, "key")[0], 0o1711)
        snapshotter.commit(NS, "one", "key")
        snapshotter.prepare(NS, "two", "one")
        assert os.stat(snapshotter.paths(NS, "two")[0]).st_mode & 0o7777 == 0o1711
