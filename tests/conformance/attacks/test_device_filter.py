"""On cgroup version 2 a container with CAP_MKNOD must not reach the host's disks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinnace.linux import mountinfo
from pinnace.linux.cgroups import device_filter
from pinnace.linux.cgroups.v2 import UnifiedCgroup
from pinnace.runc import devices

pytestmark = pytest.mark.root
_DENY_ALL = {"allow": False, "access": "rwm"}
_OFTEN = 3000

ATTACK = """
import os, stat, sys
place = sys.argv[1]
def attempt(name, kind, major, minor, flags):
    path = os.path.join(place, name)
    try:
        os.mknod(path, kind | 0o600, os.makedev(major, minor))
    except OSError as problem:
        return f"mknod {problem.errno}"
    try:
        os.close(os.open(path, flags))
    except OSError as problem:
        return f"open {problem.errno}"
    return "opened"
disk = os.stat(sys.argv[2]).st_rdev
print(attempt("null", stat.S_IFCHR, 1, 3, os.O_RDWR))
print(attempt("mem", stat.S_IFCHR, 1, 1, os.O_RDONLY))
print(attempt("disk", stat.S_IFBLK, os.major(disk), os.minor(disk), os.O_RDONLY))
"""


@pytest.fixture
def cgroup() -> Iterator[UnifiedCgroup]:
    roots = [point.target for point in mountinfo.read() if point.type == "cgroup2"]
    if not roots:
        pytest.skip("no cgroup version 2 is mounted here")
    found = UnifiedCgroup(f"/pinnace-devices-{os.getpid()}", roots[0])
    os.mkdir(found.directory)
    yield found
    os.rmdir(found.directory)


def _disk() -> str:
    disks = sorted(Path("/sys/block").iterdir())
    if not disks:
        pytest.skip("this machine has no disk")
    return f"/dev/{disks[-1].name}"


def _attack(cgroup: UnifiedCgroup, place: Path) -> list[str]:
    def join() -> None:
        Path(cgroup.directory, "cgroup.procs").write_text("0")

    done = subprocess.run(
        [sys.executable, "-c", ATTACK, place, _disk()],
        preexec_fn=join,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split("\n")[:3]


def test_a_container_makes_device_nodes_and_opens_only_its_own(
    cgroup: UnifiedCgroup, tmp_path: Path
) -> None:
    cgroup.apply({"devices": [_DENY_ALL, *devices.ALLOWED]})
    assert _attack(cgroup, tmp_path) == ["opened", "open 1", "open 1"]


def test_without_the_right_to_make_them_there_are_no_nodes(
    cgroup: UnifiedCgroup, tmp_path: Path
) -> None:
    cgroup.apply({"devices": [_DENY_ALL]})
    assert _attack(cgroup, tmp_path) == ["mknod 1", "mknod 1", "mknod 1"]


def test_a_privileged_container_opens_everything(cgroup: UnifiedCgroup, tmp_path: Path) -> None:
    cgroup.apply({"devices": [{"allow": True, "access": "rwm"}]})
    assert _attack(cgroup, tmp_path)[0] == "opened"
    assert _attack(cgroup, tmp_path / ".")[2] != "open 1"


def test_reading_may_be_allowed_alone(cgroup: UnifiedCgroup, tmp_path: Path) -> None:
    read = {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rm"}
    cgroup.apply({"devices": [_DENY_ALL, read]})
    assert _attack(cgroup, tmp_path)[0] == "open 1"  # it wants to write as well


@pytest.mark.usefixtures("cgroup")
def test_signals_do_not_keep_rules_from_a_group() -> None:
    """The kernel refuses a program while a signal is pending, as that of a child that ends just then."""
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        for _ in range(_OFTEN):
            os.close(device_filter._load(device_filter.program([_DENY_ALL, *devices.ALLOWED])))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
