"""Control groups of version 2 alone, as boards have them: device rules are set while the process is under way already."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pinnace.linux.cgroups import device_filter
from toolkit.arena import VERSION_2, Arena

pytestmark = pytest.mark.root
_KEEPER = "/run/pinnace/keeper.sock"
_DENY_ALL = {"allow": False, "access": "rwm"}
_MEMORY = {"allow": True, "type": "c", "major": 1, "minor": 1, "access": "m"}
_UNKNOWN = {"allow": True, "type": "c", "access": "q"}
# The very first thing that the program does.
_REACH = "mknod /mem c 1 1 && : < /mem"


class Place:
    """An arena with our release, and a bundle whose process may make device files."""

    def __init__(self, arena: Arena, release: Path, busybox: Path, environment: list[str]) -> None:
        self.arena = arena
        self.bundle = arena.scratch / "bundle"
        self._runc = ["env", *environment, str(release / "bin/runc"), "--root", "/run/state"]
        (self.bundle / "rootfs/bin").mkdir(parents=True)
        shutil.copy(busybox, self.bundle / "rootfs/bin/busybox")
        for name in ("sh", "mknod"):
            (self.bundle / "rootfs/bin" / name).symlink_to("busybox")
        self.runc("spec", "--bundle", str(self.bundle))
        self._spec: dict[str, Any] = json.loads((self.bundle / "config.json").read_text())

    def runc(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.arena.run([*self._runc, *words])

    def attack(self, *rules: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        """Try to read the host's memory under these rules."""
        spec = json.loads(json.dumps(self._spec))
        spec["process"] |= {"terminal": False, "args": ["sh", "-c", _REACH]}
        for kind in ("bounding", "effective", "permitted"):
            spec["process"]["capabilities"][kind] += ["CAP_MKNOD", "CAP_SYS_RAWIO"]
        spec["root"]["readonly"] = False
        spec["linux"]["resources"] = {"devices": list(rules)}
        spec["linux"]["cgroupsPath"] = f"/{self.arena.name}-devices"
        (self.bundle / "config.json").write_text(json.dumps(spec))
        (self.bundle / "rootfs/mem").unlink(missing_ok=True)
        return self.runc("run", "--bundle", str(self.bundle), "attack")

    def left(self) -> str:
        """What there still is of a container: its control group, which could not go before its processes, and its state."""
        commands = (["find", "/sys/fs/cgroup", "-name", f"{self.arena.name}*"], ["ls", "/run/state"])  # fmt: skip
        return "".join(self.arena.run(words).stdout for words in commands)


@pytest.fixture(scope="module", params=["cold", "warm"])
def place(request: pytest.FixtureRequest, release: Path, busybox: Path) -> Iterator[Place]:
    if os.geteuid() != 0:
        pytest.skip("needs root for namespaces")
    if not device_filter.is_available():
        pytest.skip("this kernel has no BPF for control groups")
    with Arena(VERSION_2) as arena:
        if request.param == "warm":
            arena.start([release / "bin/pinnace-keeper", "--address", _KEEPER], log="keeper.log")
            arena.wait_for(_KEEPER, log="keeper.log")
        yield Place(arena, release, busybox, [] if request.param == "warm" else ["PINNACE_KEEPER="])


def test_rules_hold_when_the_program_begins(place: Place) -> None:
    for _ in range(20):
        done = place.attack(_DENY_ALL, _MEMORY)
        assert done.returncode == 1
        assert "can't open /mem: Operation not permitted" in done.stderr


def test_without_such_rules_it_reaches_it(place: Place) -> None:
    done = place.attack({"allow": True, "access": "rwm"})
    # A machine need not have that device: then it is the kernel's driver that says so, and no rule.
    assert done.returncode == 0 or "can't open /mem: No such device" in done.stderr, done.stderr


def test_rules_that_the_kernel_does_not_take_are_an_error_and_nothing_stays(place: Place) -> None:
    done = place.attack(_DENY_ALL, _UNKNOWN)
    assert done.returncode == 1
    assert "device rule c q is not one the kernel knows" in done.stderr
    assert place.left() == ""
