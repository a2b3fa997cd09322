"""Races that an attacker wins every time: the tree is changed between the runtime's look-up and its mount.

Each is tried twice: against the runtime as it is, and ``undefended``, to see it succeed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pinnace.errors import Error
from pinnace.runc.paths import Root
from tests.conformance.runc.attacker import Attacker, Watched, both
from tests.conformance.runc.conftest import Box

pytestmark = pytest.mark.root


class Scene:
    """A container in the making, a directory of the host it must not reach, and one it shares with an attacker."""

    def __init__(self, box: Box, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.box = box
        self.host = top / "host"
        self.shared = top / "shared"
        self.volume = top / "volume"
        self.landed = top / "landed"
        self._scratch = top
        self._monkeypatch = monkeypatch
        for place in (self.host, self.shared, self.volume):
            place.mkdir()
        (self.host / "secret").write_text("secret")
        self.attackers: list[Attacker] = []

    def bind(self, source: Path, target: str, *options: str) -> None:
        shape = {"destination": target, "type": "bind", "source": str(source)}
        self.box.spec["mounts"].append({**shape, "options": ["bind", *options]})

    def attack(
        self, target: str, deed: Callable[[], None], *, after: bool = False, by_path: bool = False
    ) -> Attacker:
        attacker = Attacker(self._scratch, deed)
        self.attackers.append(attacker)
        watched = Watched(target, attacker, after=after, by_path=by_path)
        watched.install(self._monkeypatch, self.host, self.landed)
        return attacker

    def own_dev(self) -> Path:
        """Let the image bring its own /dev, which an attacker who wrote the image can change."""
        mounts = self.box.spec["mounts"]
        self.box.spec["mounts"] = [each for each in mounts if each["destination"] != "/dev"]
        dev = self.box.root / "dev"
        dev.mkdir()
        os.mknod(dev / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        (dev / "null").chmod(0o666)
        return dev


@pytest.fixture
def scene(box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    top = tmp_path / "scene"
    top.mkdir()
    made = Scene(box, top, monkeypatch)
    yield made
    for attacker in made.attackers:
        attacker.close()


def _swap(place: Path, target: Path | str) -> Callable[[], None]:
    """The deed: a link in the place of a file or directory, which goes aside."""

    def deed() -> None:
        place.rename(place.with_name("aside"))
        place.symlink_to(target)

    return deed


@both
@pytest.mark.parametrize("kind", ["directory", "file"])
def test_a_mount_target_swapped_for_a_link(scene: Scene, kind: str, undefended: bool) -> None:
    """CVE-2021-30465: a mount lands where a link of another container's leads, on the host."""
    target, source = scene.shared / "sub", scene.volume
    if kind == "file":
        target.touch()
        source = scene.volume / "file"
        source.touch()
    else:
        target.mkdir()
    place = scene.host if kind == "directory" else scene.host / "secret"
    scene.bind(scene.shared, "/data")
    scene.bind(source, "/data/sub")
    attacker = scene.attack("/data/sub", _swap(target, place), by_path=undefended)
    with contextlib.suppress(Error):  # to give up is a defence
        scene.box.create("true")
    assert attacker.struck
    assert scene.landed.exists() is undefended


@both
def test_a_read_only_volume_is_read_only_wherever_its_place_goes(
    scene: Scene, undefended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CVE-2021-30465, the second half: the option is set on what the path leads to by then."""
    (scene.shared / "sub").mkdir()
    scene.bind(scene.shared, "/data")
    scene.bind(scene.volume, "/data/sub", "ro")
    if undefended:
        monkeypatch.setattr(Root, "mounted", lambda self, path, *_: self.existing(path))
    attacker = scene.attack("/data/sub", _swap(scene.shared / "sub", "/dev/shm"), after=True)
    if undefended:
        assert scene.box.sh("echo owned > /data/aside/file").status == 0
        assert (scene.volume / "file").read_text() == "owned\n"
    else:
        with pytest.raises(Error, match="changed while it was mounted"):
            scene.box.create("true")
    assert attacker.struck


@both
def test_the_null_device_swapped_before_it_masks(scene: Scene, undefended: bool) -> None:
    """CVE-2025-31133: what is shown in the place of a masked file is a file of the host."""
    dev = scene.own_dev()
    scene.box.linux["maskedPaths"] = ["/proc/timer_list"]
    scene.box.stdin = "/proc/version"  # streams to nowhere would be refused already
    deed = _swap(dev / "null", scene.host / "secret")
    attacker = scene.attack("/proc/timer_list", deed, by_path=undefended)
    ended = scene.box.sh("stat -c %t:%T /proc/timer_list; cat /proc/timer_list")
    assert attacker.struck
    assert ended.output == ("0:0\nsecret" if undefended else "1:3\n")


@both
def test_the_console_swapped_for_a_link(scene: Scene, init_by: str, undefended: bool) -> None:
    """CVE-2025-52565: the terminal is mounted where the image's /dev/console leads."""
    if init_by == "native":
        pytest.skip("terminals are Python's")
    dev = scene.own_dev()
    (dev / "console").touch()
    scene.box.spec["process"]["terminal"] = True
    deed = _swap(dev / "console", scene.host / "secret")
    attacker = scene.attack("/dev/console", deed, by_path=undefended)
    with contextlib.suppress(Error):
        made = scene.box.create("true")
        os.close(made.console or -1)
    assert attacker.struck
    assert scene.landed.exists() is undefended


@both
def test_proc_swapped_for_a_link(scene: Scene, undefended: bool) -> None:
    """CVE-2023-27561 and CVE-2023-28642: /proc, checked to be a directory, is a link when it is mounted."""
    (scene.box.root / "proc").mkdir()
    attacker = scene.attack("/proc", _swap(scene.box.root / "proc", scene.host), by_path=undefended)
    with contextlib.suppress(Error):
        scene.box.create("true")
    assert attacker.struck
    assert scene.landed.exists() is undefended
