"""Raspberry Pi machines as a user has them: restored again and again, and like Raspberry Pi OS."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.laptop import Laptop
from toolkit import boards
from toolkit.arch import Arch
from toolkit.boards import proof
from toolkit.boards.elf import tiny_program
from toolkit.boards.system import firmware
from toolkit.boards.system.board import SystemBoard

pytestmark = [pytest.mark.emulated, pytest.mark.system, pytest.mark.timeout(7200)]

RESTORES = int(os.environ.get("PINNACE_RESTORES", "3"))
"""How often in a row; 50 is the full size."""

KINDS = os.environ.get("PINNACE_RESTORE_BOARDS", "sys-armv6l").split(",")
"""Which boards; docs/boards.md has their names."""

_SIGILL = 128 + 4
_PROVISION_SECONDS = 1800


@pytest.fixture(scope="module", autouse=True)
def _state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Boards of these tests have a state directory of their own: nobody else's are touched."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@contextmanager
def _a_board(kind: str, system: str = "") -> Iterator[SystemBoard]:
    found = boards.get(f"{kind}-pi")
    assert isinstance(found, SystemBoard)
    try:
        found.create(yes=True, system=system)
        found.start(yes=True)
        yield found
    finally:
        found.destroy()


def _on(board: SystemBoard, script: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        board.ssh_command([script]), input=stdin, capture_output=True, check=False, timeout=300
    )
    text = (done.stdout.decode(), done.stderr.decode())
    return subprocess.CompletedProcess(done.args, done.returncode, *text)


@pytest.fixture(scope="module", params=KINDS)
def board(request: pytest.FixtureRequest) -> Iterator[SystemBoard]:
    with _a_board(request.param) as found:
        yield found


def _worked(board: SystemBoard) -> float:
    """Seconds of processor time that its QEMU has taken."""
    stat = Path(f"/proc/{board._running().qemu_pid.read_text().strip()}/stat").read_text()
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def test_a_board_is_restored_again_and_again(board: SystemBoard) -> None:
    """A machine that stands still after a restore is a time limit's error, with its console."""
    seconds, worked = [], []
    for number in range(RESTORES):
        assert _on(board, f"echo {number} >left-behind; sync").returncode == 0
        begin = time.monotonic()
        board.restore()
        assert _on(board, "ls left-behind").returncode != 0
        seconds.append(time.monotonic() - begin)
        worked.append(_worked(board))
    middle = statistics.median(seconds)
    print(f"{board.name}: {RESTORES} restores to a command, {min(seconds):.1f} to {max(seconds):.1f} s, median {middle:.1f} s; {statistics.median(worked):.1f} s of QEMU's processor time")  # fmt: skip


def test_a_running_board_is_kept_and_goes_on(board: SystemBoard) -> None:
    """Also one whose network card QEMU cannot save."""
    assert _on(board, "echo one >file; sudo systemd-run -q --unit=stays sleep 3600").returncode == 0
    board.snapshot("here")
    assert _on(board, "systemctl is-active stays && echo two >file").stdout == "active\n"
    board.restore("here")
    assert _on(board, "systemctl is-active stays; cat file").stdout == "active\none\n"


def test_an_armv6_machine_runs_armv6_and_nothing_newer(board: SystemBoard) -> None:
    arch = Arch.ARMV6L
    if board.arch is not arch:
        pytest.skip(f"{board.name} is no ARMv6 machine")
    assert _on(board, "uname -m").stdout.strip() == "armv6l"
    for code, status in ((proof.running(arch), 0), (proof.lacking(arch), _SIGILL)):
        program = tiny_program("arm", code, proof.flags(arch))
        assert _on(board, "cat >program && chmod +x program", program).returncode == 0
        assert _on(board, "./program; exit $?").returncode == status


def test_the_kernel_role_turns_the_memory_controller_on(tmp_path: Path) -> None:
    """It edits the board's cmdline.txt, reboots it and finds the controller; then it has nothing left to do."""
    with _a_board("sys-arm64", firmware.RASPBERRY_PI_OS) as board:
        # The boot partition is mounted beside the SSH server's start.
        assert _on(board, "systemctl is-system-running --wait").stdout.strip() == "running"
        controllers = "cat /sys/fs/cgroup/cgroup.controllers"
        assert "memory" not in _on(board, controllers).stdout.split()
        booted = _on(board, "cat /proc/sys/kernel/random/boot_id").stdout
        laptop = Laptop(tmp_path)
        laptop.inventory(f"subject board={board.name}\n")
        role = ("provision", "--host", "subject", "--role", "kernel", "--no-verify")
        done = laptop.inv(*role, limit=_PROVISION_SECONDS)
        assert done.returncode == 0, done.stderr + board.console.read_text(errors="replace")[-2000:]
        assert _on(board, "cat /proc/sys/kernel/random/boot_id").stdout != booted
        assert "memory" in _on(board, controllers).stdout.split()
        assert "cgroup_disable" not in _on(board, "cat /proc/cmdline").stdout
        again = laptop.inv(*role, limit=_PROVISION_SECONDS)
        assert (again.returncode, "changed=0" in again.stderr) == (0, True), again.stderr
