"""Checkpoints as content: what is taken out of a tar that somebody stored, and what is not."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from pinnace.daemon.checkpoints import MEMORY, Checkpoints
from pinnace.daemon.events import Exchange
from pinnace.daemon.log import Log
from pinnace.daemon.task import Stdio
from pinnace.daemon.tasks import Tasks
from pinnace.errors import Error, InvalidArgument, NotFound
from pinnace.keeper import checkpoints as flags
from pinnace.spec.digest import sha256
from pinnace.spec.image import Descriptor
from pinnace.store.store import Store
from tests.unit.daemon.shims import FakeShims


class World:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = Store(str(root / "root"))
        self.shims = FakeShims()
        self.tasks = Tasks(str(root / "tasks"), self.shims, Exchange(), Log("panic"))
        self.places = root / "checkpoints"
        self.checkpoints = Checkpoints(str(self.places), self.store.content, self.tasks)

    def stored(self, data: bytes) -> Descriptor:
        digest = sha256(data)
        with self.store.content.writer("ns", "ref") as writer:
            writer.write(data)
            writer.commit()
        return Descriptor(MEMORY, digest, len(data))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def _tar(*members: tarfile.TarInfo) -> bytes:
    output = io.BytesIO()
    with tarfile.open(mode="w", fileobj=output) as archive:
        for member in members:
            member.size = 3 if member.isfile() else 0
            archive.addfile(member, io.BytesIO(b"abc") if member.isfile() else None)
    return output.getvalue()


def _member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, target
    return found


def test_files_come_out_and_go(world: World) -> None:
    tar = _tar(_member(".", tarfile.DIRTYPE), _member("./core-1.img"), _member("pages-1.img"))
    path = world.checkpoints.unpack("ns", "c1", world.stored(tar))
    assert sorted(os.listdir(path)) == ["core-1.img", "pages-1.img"]
    world.checkpoints.forget("ns", "c1")
    assert not os.path.exists(path)


@pytest.mark.parametrize(
    "member",
    [
        _member("../outside"), _member("/etc/passwd"), _member("a/b"), _member(".."),
        _member("link", tarfile.SYMTYPE, "/etc"), _member("hard", tarfile.LNKTYPE, "/etc/passwd"),
        _member("device", tarfile.CHRTYPE), _member("dir", tarfile.DIRTYPE),
    ],
    ids=lambda member: member.name,
)  # fmt: skip
def test_what_is_no_file_of_criu_is_refused(world: World, member: tarfile.TarInfo) -> None:
    with pytest.raises(InvalidArgument, match="plain files only"):
        world.checkpoints.unpack("ns", "c1", world.stored(_tar(_member("core.img"), member)))
    assert os.listdir(world.places) == []
    assert not (world.root / "outside").exists()


def test_a_name_that_comes_twice_is_refused(world: World) -> None:
    with pytest.raises(Error):
        world.checkpoints.unpack("ns", "c1", world.stored(_tar(_member("a"), _member("a"))))
    assert os.listdir(world.places) == []


@pytest.mark.parametrize("data", [b"", b"nonsense" * 200, _tar(_member("a"))[:700]])
def test_what_is_no_tar(world: World, data: bytes) -> None:
    if not data:
        with pytest.raises(NotFound):
            world.checkpoints.unpack("ns", "c1", Descriptor(MEMORY, sha256(b"x"), 1))
        return
    with pytest.raises(InvalidArgument):
        world.checkpoints.unpack("ns", "c1", world.stored(data))
    assert os.listdir(world.places) == []


def test_a_layer_is_no_checkpoint(world: World) -> None:
    layer = world.stored(_tar(_member("a")))._replace(media_type="application/tar")
    with pytest.raises(InvalidArgument, match="media type of a checkpoint"):
        world.checkpoints.unpack("ns", "c1", layer)


def test_a_new_daemon_removes_all_but_what_waits_for_its_start(world: World) -> None:
    memory = world.stored(_tar(_member("a")))
    for name in ("waits", "gone"):
        world.checkpoints.unpack("ns", name, memory)
    (world.places / "save-x").mkdir()
    world.tasks.create("ns", "waits", b"{}", (), Stdio(), {})
    world.checkpoints.clear(["ns"])
    assert len(os.listdir(world.places)) == 1
    world.tasks.start("ns", "waits")
    world.checkpoints.clear(["ns"])
    assert os.listdir(world.places) == []


def test_flags_of_criu() -> None:
    assert flags.flags({}) == ["--manage-cgroups=soft", "--leave-running"]
    assert flags.flags({"exit": True, "open_tcp": True, "cgroups_mode": "ignore"}) == [
        "--manage-cgroups=ignore",
        "--tcp-established",
    ]
    assert "--empty-ns" in flags.flags({"empty_namespaces": ["network"]})
    for wrong in ({"cgroups_mode": "--exec-cmd"}, {"empty_namespaces": ["pid"]}):
        with pytest.raises(InvalidArgument):
            flags.flags(wrong)
