"""What each kind sees and would change, without a board: programs answer from a table."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from toolkit.agent.errors import AgentError
from toolkit.agent.facts import os_release, userland
from toolkit.agent.kinds.base import Change
from toolkit.agent.kinds.bundle import prune
from toolkit.agent.kinds.kernel import KernelCmdline, controllers
from toolkit.agent.kinds.machine import Clock
from toolkit.agent.kinds.packages import Package
from toolkit.agent.kinds.units import Unit
from toolkit.agent.system import System, run_program


class Programs:
    """Answers for programs by the beginning of their command line; remembers what was run."""

    def __init__(self, **answers: str) -> None:
        self.answers = answers
        self.ran: list[str] = []

    def __call__(self, argv: Sequence[str], timeout: float) -> tuple[int, str]:
        self.ran.append(" ".join(argv))
        return 0, self.answers.get(argv[0].replace("-", "_"), "")


def nothing(_: str) -> list[bytes]:
    return []


SHOWN = "LoadState=loaded\nActiveState={}\nUnitFileState={}\nNeedDaemonReload=no\n"


@pytest.mark.parametrize(
    ("active", "enabled", "changes"),
    [
        ("active", "enabled", []),
        ("inactive", "enabled", [Change("state", "inactive", "active")]),
        ("failed", "enabled", [Change("state", "failed", "active")]),
        ("active", "disabled", [Change("enabled", "disabled", "enabled")]),
        ("active", "static", []),
    ],
)
def test_unit_diff(active: str, enabled: str, changes: list[Change]) -> None:
    system = System(runner=Programs(systemctl=SHOWN.format(active, enabled)))
    resource = {"unit": "x.service", "enabled": True, "running": True, "files": {}}
    kind = Unit()
    assert kind.diff(resource, kind.look(resource, system)) == changes


def test_what_cannot_be_disabled_is_not_disabled_at_every_run() -> None:
    system = System(runner=Programs(systemctl=SHOWN.format("inactive", "static")))
    resource = {"unit": "x.service", "enabled": False, "running": False, "files": {}}
    assert Unit().diff(resource, Unit().look(resource, system)) == []


def test_all_units_are_asked_for_in_one_call() -> None:
    both = SHOWN.format("active", "enabled") + "\n" + SHOWN.format("inactive", "disabled")
    programs = Programs(systemctl=both)
    wanted = [{"unit": f"{x}.service", "enabled": True, "running": True, "files": {}} for x in "ab"]
    states = Unit().inspect(wanted, System(runner=programs))
    assert [state["ActiveState"] for state in states] == ["active", "inactive"]
    assert len(programs.ran) == 1


def test_packages_are_installed_only_where_missing() -> None:
    programs = Programs(dpkg_query="iproute2 installed 6.1.0-3\nxz-utils config-files 5.4\n")
    resource = {"names": ["iproute2", "xz-utils"], "debs": []}
    [state] = Package().inspect([resource], System(runner=programs))
    assert Package().diff(resource, state) == [Change("xz-utils", "absent", "installed")]


@pytest.fixture
def pi(tmp_path: Path) -> System:
    firmware = tmp_path / "boot/firmware"
    firmware.mkdir(parents=True)
    (firmware / "cmdline.txt").write_text("console=tty1 root=PARTUUID=1-02 rootwait\n")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cgroups").write_text("#name hier num enabled\ncpu 1 1 1\nmemory 0 1 0\n")
    return System(str(tmp_path))


CMDLINE = {
    "parameters": ["cgroup_enable=memory", "cgroup_memory=1"],
    "absent": [],
    "controller": "memory",
}


def test_the_command_line_stays_one_line(pi: System) -> None:
    KernelCmdline().apply(CMDLINE, pi, nothing)
    assert pi.read_text("/boot/firmware/cmdline.txt") == (
        "console=tty1 root=PARTUUID=1-02 rootwait cgroup_enable=memory cgroup_memory=1\n"
    )
    assert KernelCmdline().diff(CMDLINE, KernelCmdline().look(CMDLINE, pi)) == []


def test_the_command_line_is_left_alone_where_the_controller_is_on(pi: System) -> None:
    Path(pi.path("/proc/cgroups")).write_text("memory 3 10 1\n")
    assert KernelCmdline().diff(CMDLINE, KernelCmdline().look(CMDLINE, pi)) == []


def test_a_board_without_command_line_has_nothing_to_change(tmp_path: Path) -> None:
    assert KernelCmdline().diff(CMDLINE, KernelCmdline().look(CMDLINE, System(str(tmp_path)))) == []


def test_controllers_come_from_both_versions(pi: System) -> None:
    unified = Path(pi.path("/sys/fs/cgroup"))
    unified.mkdir(parents=True)
    (unified / "cgroup.controllers").write_text("io pids\n")
    assert controllers(pi) == ["cpu", "io", "pids"]


def test_a_clock_behind_is_set_and_a_synchronised_one_is_questioned(tmp_path: Path) -> None:
    clock, system = Clock(), System(str(tmp_path))
    wanted = {"now": time.time() + 7200, "tolerance": 60}
    [change] = clock.diff(wanted, clock.look(wanted, system))
    assert change.before == "7200 s behind"
    (tmp_path / "run/systemd/timesync").mkdir(parents=True)
    (tmp_path / "run/systemd/timesync/synchronized").touch()
    with pytest.raises(AgentError, match="which a time server sets, is 7200 s behind"):
        clock.diff(wanted, clock.look(wanted, system))


def test_a_clock_within_tolerance_is_left_alone(tmp_path: Path) -> None:
    clock = Clock()
    wanted = {"now": time.time() - 30, "tolerance": 60}
    assert clock.diff(wanted, clock.look(wanted, System(str(tmp_path)))) == []


def test_the_newest_releases_stay(tmp_path: Path) -> None:
    for age, name in enumerate(("r5", "r4", "r3", "r2", "r1")):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    assert sorted(prune(str(tmp_path), "r1")) == ["r2", "r3"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r1", "r4", "r5"]


@pytest.mark.parametrize(
    ("machine", "header", "expected"),
    [
        ("armv6l", b"\x7fELF\x01", "armv6l"),
        ("aarch64", b"\x7fELF\x02", "aarch64"),
        ("aarch64", b"\x7fELF\x01", "armv6l"),
        ("x86_64", b"\x7fELF\x02", "x86_64"),
    ],
)
def test_the_userland_decides_what_a_board_is(machine: str, header: bytes, expected: str) -> None:
    assert userland(machine, header) == expected


def test_os_release_is_unquoted() -> None:
    assert os_release("ID=debian\nVERSION_CODENAME='trixie'\n# x\n") == {
        "ID": "debian",
        "VERSION_CODENAME": "trixie",
    }


def test_a_program_is_stopped_at_its_time_limit() -> None:
    with pytest.raises(AgentError, match=r"sleep 60 did not end within 0 s"):
        run_program(["sleep", "60"], 0.05)


def test_a_program_gives_status_and_both_streams() -> None:
    assert run_program(["sh", "-c", "echo out; echo err >&2; exit 3"], 10) == (3, "out\nerr\n")
    assert run_program(["no-such-program"], 10) == (127, "no-such-program is not installed")
