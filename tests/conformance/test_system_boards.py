"""Full-system boards as a user has them: booted, kept, rebooted, cut off, gone. Root is not needed."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fresh import fresh
from toolkit import boards
from toolkit.boards.system.board import SystemBoard
from toolkit.boards.system.launch import Run
from toolkit.errors import PinnaceError
from toolkit.lab import registry
from toolkit.process import start_time

pytestmark = [pytest.mark.emulated, pytest.mark.system, pytest.mark.timeout(1200)]

KIND = os.environ.get("PINNACE_SYSTEM_BOARD", "sys-arm64")
"""The board that the tests run on; docs/boards.md names the others."""


def on(board: SystemBoard, script: str, *, stdin: bytes = b"", status: int = 0) -> str:
    """What a script on the board prints; another exit status than ``status`` fails the test."""
    done = subprocess.run(
        board.ssh_command([script]), input=stdin, capture_output=True, check=False, timeout=300
    )
    assert done.returncode == status, f"{script}: {done.stdout.decode()}{done.stderr.decode()}"
    return done.stdout.decode().strip()


def a_board(word: str) -> SystemBoard:
    found = boards.get(f"{KIND}-{word}")
    assert isinstance(found, SystemBoard)
    return found


@pytest.fixture(scope="module")
def authority() -> bytes:
    """The certificate authority of the lab registry, which runs; asked for with the usual state."""
    registry.start(yes=True)
    return registry.ca_certificate().read_bytes()


@pytest.fixture(scope="module", autouse=True)
def _state(authority: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Boards of these tests have a state directory of their own: nobody else's are touched."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="module")
def kept() -> Iterator[SystemBoard]:
    """One board for all tests; each begins where it had just booted."""
    found = a_board("t")
    with fresh(found):
        yield found


@pytest.fixture
def board(kept: SystemBoard) -> SystemBoard:
    kept.restore()
    return kept


def test_it_is_the_machine_it_says(board: SystemBoard) -> None:
    assert on(board, "uname -m") == board.arch.facts.machine
    assert on(board, "dpkg --print-architecture") == board.arch.facts.debian
    assert on(board, "hostname; cat /etc/hostname").split() == [board.name, board.name]
    assert on(board, "systemctl is-system-running --wait") == "running"
    assert abs(int(on(board, "date +%s")) - time.time()) < 60
    assert on(board, "sudo dpkg --audit") == ""
    assert on(board, "sudo -l -U pi | tail -1") == "(ALL) NOPASSWD: ALL"


def test_limits_are_enforced(board: SystemBoard) -> None:
    hungry = "python3 -c 'x = bytearray(100 << 20)'"
    run = "sudo systemd-run -q --wait --pipe --service-type=exec"
    limited = f"{run} -p MemoryMax=20M -p MemorySwapMax=0 -- {hungry}"
    done = subprocess.run(board.ssh_command([limited]), capture_output=True, check=False, timeout=300)  # fmt: skip
    assert done.returncode != 0
    assert "oom-kill" in on(board, "sudo journalctl -b --no-pager -o cat | tail -n 40")
    many = f"{run} -p TasksMax=4 -- sh -c 'for i in 1 2 3 4 5 6; do sleep 9 & done' 2>&1; true"
    assert "ork" in on(board, many)


def test_what_user_emulation_lacks_is_there(board: SystemBoard) -> None:
    assert {"cpu", "io", "memory", "pids"} <= set(on(board, "cat /sys/fs/cgroup/cgroup.controllers").split())  # fmt: skip
    on(board, "sudo iptables -t nat -A POSTROUTING -j MASQUERADE")
    assert "masquerade" in on(board, "sudo nft list ruleset")
    assert on(board, "unshare --user --map-root-user id -u") == "0"
    filtered = "-p 'SystemCallFilter=~mkdir mkdirat' -p SystemCallErrorNumber=EPERM"
    on(board, f"sudo systemd-run -q --wait --pipe {filtered} mkdir /run/x", status=1)


def test_the_lab_registry_is_reached_and_nothing_else(board: SystemBoard, authority: bytes) -> None:
    ask = "import ssl,urllib.request as u; c=ssl.create_default_context(cafile='/tmp/ca.crt'); print(u.urlopen('https://registry.lab/v2/', context=c, timeout=60).status)"  # fmt: skip
    on(board, "cat > /tmp/ca.crt", stdin=authority)
    assert on(board, f'python3 -c "{ask}"') == "200"
    # 10.0.2.2 would be this machine's loopback in QEMU's user network.
    elsewhere = "import socket; socket.create_connection(('10.0.2.2', 22), timeout=3)"
    on(board, f'python3 -c "{elsewhere}" 2>/dev/null', status=1)


def test_a_reboot_takes_the_command_line_of_the_boot_partition(board: SystemBoard) -> None:
    before = on(board, "cat /proc/sys/kernel/random/boot_id")
    on(board, "sudo sed -i 's/$/ pinnace.test=1/' /boot/firmware/cmdline.txt && sudo touch /kept")
    on(board, "sync; sudo systemctl --no-block reboot")
    deadline = time.monotonic() + 600
    while True:
        done = subprocess.run(
            board.ssh_command(["cat /proc/sys/kernel/random/boot_id /proc/cmdline; ls /kept"]),
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        if done.returncode == 0 and before not in done.stdout:
            break
        assert time.monotonic() < deadline, done.stderr
        time.sleep(1)
    assert "pinnace.test=1" in done.stdout
    assert "/kept" in done.stdout


def test_the_reset_button_restarts_it(board: SystemBoard) -> None:
    before = on(board, "cat /proc/sys/kernel/random/boot_id")
    board.reset()
    assert on(board, "cat /proc/sys/kernel/random/boot_id") != before


def test_a_power_cut_loses_what_was_not_synced_and_keeps_what_was(board: SystemBoard) -> None:
    # Direct writes to blocks that exist reach the disk at once, but not for good: nobody flushes.
    on(board, "dd if=/dev/zero of=direct bs=1M count=8 conv=fsync status=none")
    on(board, "head -c 300000 /dev/urandom | tee synced | sha256sum > synced.sum && sync")
    expected = on(board, "sha256sum < synced")
    loop = "while :; do dd if=/dev/urandom of=direct bs=64k count=100 oflag=direct conv=notrunc status=none; done"  # fmt: skip
    on(board, f"nohup sh -c '{loop}' >/dev/null 2>&1 & echo begun")
    on(board, "head -c 300000 /dev/urandom > unsynced")
    time.sleep(2)
    board.power_cut()
    assert not board.is_running
    said = (board.console.parent / "supervisor.log").read_text()
    lost = re.search(r"the power was cut: (\d+) unflushed blocks are lost", said)
    assert lost is not None
    # A card in a Raspberry Pi machine's slot has no flush, so every write that it took is for good.
    assert bool(board.model.disk) == (int(lost[1]) > 0)
    board.start()
    assert on(board, "sha256sum < synced") == expected
    assert on(board, "stat -c %s unsynced 2>/dev/null || echo 0") == "0"
    assert "recovery complete" in on(board, "sudo dmesg | grep EXT4-fs")
    assert "clean" in on(board, "sudo tune2fs -l /dev/disk/by-label/rootfs | grep state")


def test_a_snapshot_has_memory_and_disk(board: SystemBoard) -> None:
    on(board, "echo one > file; sudo systemd-run -q --unit=stays sleep 3600")
    board.snapshot("here")
    on(board, "systemctl is-active stays; echo two > file")
    board.restore("here")
    assert on(board, "systemctl is-active stays; cat file") == "active\none"
    assert board.snapshot_tags == ["here"]
    board.restore()
    on(board, "systemctl is-active stays", status=4)


def test_a_board_that_does_not_start_is_reported_and_ended(board: SystemBoard) -> None:
    on(board, "sudo sed -i 's|$| init=/nowhere|' /boot/firmware/cmdline.txt; sync")
    board.stop()
    with pytest.raises(PinnaceError, match="gave up") as problem:
        board.start()
    assert "Kernel panic" in problem.value.hint
    assert not board.is_running


def test_nothing_stays_behind(board: SystemBoard) -> None:
    run = Run.read(board.console.parent / "run.json")
    assert run is not None
    qemu = int(run.qemu_pid.read_text())
    board.destroy()
    assert start_time(qemu) == 0
    assert not run.alive
    assert not Path(run.folder).exists()
    assert not board.console.parent.exists()
    board.ensure_started()


def test_four_boards_at_once(board: SystemBoard) -> None:
    four = [a_board(f"t{number}") for number in range(4)]
    try:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda each: each.ensure_started(), four))
            names = list(threads.map(lambda each: on(each, "hostname; echo x > file; sync"), four))
        assert names == [each.name for each in four]
    finally:
        for each in four:
            each.destroy()


_AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]


def _environment(home: Path) -> list[str]:
    modules = f"{Path(boards.__file__).parents[2]}:{Path(pytest.__file__).parents[1]}"
    return ["env", "-i", f"HOME={home}", "PATH=/usr/bin:/bin", f"PYTHONPATH={modules}"]


def _python_for_all(home: Path) -> str:
    """A Python that a plain user may run, too: this one may be in root's home."""
    for candidate in (sys.executable, "/usr/bin/python3"):
        words = [*_AS_NOBODY, *_environment(home), candidate, "-c", "import toolkit, rich, pytest"]
        if subprocess.run(words, capture_output=True, cwd="/", check=False).returncode == 0:
            return candidate
    pytest.skip("no Python here that a plain user may run")


@pytest.fixture
def plain_home() -> Iterator[Path]:
    """The home of a plain user: not below pytest's own directory, which every pytest that starts closes to others."""
    with tempfile.TemporaryDirectory(prefix="plain-home-") as folder:
        os.chown(folder, 65534, 65534)
        yield Path(folder)


@pytest.mark.root
@pytest.mark.timeout(2400)
def test_a_user_without_root_has_boards_too(plain_home: Path) -> None:
    """From empty caches: a plain user downloads, builds, boots, keeps and restores, with no help."""
    script = (
        "from toolkit import boards; b = boards.get('sys-arm64-plain')\n"
        "b.ensure_started()\n"
        "import subprocess; print(subprocess.run(b.ssh_command(['sudo id -u; hostname']), capture_output=True, text=True).stdout)\n"
        "b.destroy()"
    )
    done = subprocess.run(
        [*_AS_NOBODY, *_environment(plain_home), _python_for_all(plain_home), "-c", script],
        cwd="/", capture_output=True, text=True, check=False, timeout=2300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "0\nsys-arm64-plain" in done.stdout
    assert list((plain_home / ".local/state/pinnace/boards").iterdir()) == []
