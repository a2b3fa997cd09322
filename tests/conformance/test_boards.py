"""Boards as a user has them: they start, are what they say, reboot, and leave nothing behind."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolkit.arch import Arch
from toolkit.boards import binfmt, cgroups, elf, machine, network, proof
from toolkit.boards.catalogue import find
from toolkit.boards.emulated import EmulatedBoard
from toolkit.process import start_time

pytestmark = [pytest.mark.root, pytest.mark.emulated, pytest.mark.timeout(900)]


def on(board: EmulatedBoard, *words: str, stdin: bytes = b"") -> str:
    """What a command on the board prints; its failure fails the test."""
    done = subprocess.run(
        board.ssh_command(words), input=stdin, capture_output=True, check=False, timeout=120
    )
    assert done.returncode == 0, f"{words}: {done.stderr.decode()}"
    return done.stdout.decode().strip()


@pytest.fixture(scope="module", autouse=True)
def _state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Boards of these tests have a state directory of their own: nobody else's are touched."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="module", params=["emu-amd64-test", "emu-armv6l-test"])
def board(request: pytest.FixtureRequest) -> Iterator[EmulatedBoard]:
    found = EmulatedBoard(find(request.param))
    groups = os.getgroups()
    try:
        # Whoever is in several groups starts a board, too.
        os.setgroups([*groups, 54321, 54322])
        try:
            found.ensure_started(yes=True)
        finally:
            os.setgroups(groups)
        yield found
    finally:
        found.destroy()


def test_it_is_the_processor_it_says(board: EmulatedBoard) -> None:
    machine_name = board.arch.facts.machine
    assert on(board, "uname", "-m") == machine_name
    assert on(board, "sudo", "env", "-i", "/usr/bin/uname", "-m") == machine_name
    assert on(board, "sudo", "systemd-run", "-q", "--wait", "--pipe", "uname", "-m") == machine_name
    assert on(board, "sudo", "unshare", "-mpfiu", "--mount-proc", "uname", "-m") == machine_name
    assert on(board, "dpkg", "--print-architecture") == board.arch.facts.debian


def test_systemd_is_content(board: EmulatedBoard) -> None:
    assert on(board, "systemctl", "is-system-running", "--wait") == "running"
    assert on(board, "systemctl", "--failed", "--no-legend") == ""
    assert on(board, "cat", "/proc/1/comm") == "systemd"
    assert on(board, "grep", "Groups:", "/proc/1/status").split() == ["Groups:"]


def test_dpkg_and_apt_find_a_normal_system(board: EmulatedBoard) -> None:
    assert on(board, "sudo", "dpkg", "--audit") == ""
    on(board, "sudo", "apt-get", "check")  # fails on unmet dependencies


def test_newer_code_dies_in_a_container_on_the_board(board: EmulatedBoard) -> None:
    if board.arch is not Arch.ARMV6L:
        pytest.skip("natively this machine's own processor decides")
    program = elf.tiny_program("arm", proof.lacking(Arch.ARMV6L), elf.SOFT_FLOAT)
    container = "sudo env -i unshare -mpfiu --mount-proc sh -c '/tmp/v7; exit $?'"
    script = f"cat >/tmp/v7 && chmod +x /tmp/v7 && {container}; echo $?"
    assert on(board, script, stdin=program).endswith(str(128 + signal.SIGILL))


def test_a_container_engine_finds_what_it_needs(board: EmulatedBoard) -> None:
    overlay = (
        "cd /var/lib/pinnace && sudo mkdir -p t/l t/u t/w t/m && "
        "sudo unshare -m mount -t overlay o -o lowerdir=t/l,upperdir=t/u,workdir=t/w t/m && echo mounted"
    )
    assert on(board, overlay) == "mounted"
    assert on(board, "sudo mknod /tmp/null c 1 3 && test -c /tmp/null && echo made") == "made"
    for hierarchy in cgroups.hierarchies():
        below = f"/sys/fs/cgroup/{hierarchy.mountpoint.relative_to(cgroups.ROOT)}"
        assert (
            on(board, f"sudo mkdir {below}/x && sudo rmdir {below}/x && echo writable")
            == "writable"
        )


def test_the_machines_kernel_is_out_of_reach(board: EmulatedBoard) -> None:
    assert (
        on(board, "sudo sh -c 'echo 1 >/proc/sys/kernel/panic' 2>/dev/null || echo refused")
        == "refused"
    )
    assert on(board, "sudo sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward' && echo own") == "own"


def test_it_reaches_the_lab_and_nothing_else(board: EmulatedBoard) -> None:
    assert on(board, "getent", "hosts", network.REGISTRY).split()[0] == network.gateway()
    assert (
        on(board, "ip -4 -br address show eth0 | tr -s ' ' | cut -d' ' -f3").split("/")[0]
        == board.address
    )


def test_another_host_key_is_refused(board: EmulatedBoard, tmp_path: Path) -> None:
    other = tmp_path / "known_hosts"
    subprocess.run(["ssh-keygen", "-qt", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    other.write_text(f"{board.name} {(tmp_path / 'key.pub').read_text()}")
    words = [
        word.replace(str(board.known_hosts), str(other)) for word in board.ssh_command(["true"])
    ]
    assert subprocess.run(words, capture_output=True, check=False).returncode == 255


def test_reboot(board: EmulatedBoard) -> None:
    before = on(board, "cat", "/proc/sys/kernel/random/boot_id")
    on(board, "sudo touch /var/lib/pinnace/kept /root/kept")
    on(board, "echo net.ipv4.ip_forward=1 | sudo tee /etc/sysctl.d/60-test.conf")
    subprocess.run(board.ssh_command(["sudo", "reboot"]), capture_output=True, check=False)
    assert machine.wait_until(lambda: boot_id(board) not in ("", before), 120, 0.5)
    assert on(board, "sudo ls /root/kept /var/lib/pinnace/kept").split() == [
        "/root/kept",
        "/var/lib/pinnace/kept",
    ]
    assert on(board, "cat /proc/sys/net/ipv4/ip_forward") == "1"
    assert on(board, "systemctl", "is-system-running", "--wait") == "running"


def boot_id(board: EmulatedBoard) -> str:
    words = board.ssh_command(["cat", "/proc/sys/kernel/random/boot_id"])
    return subprocess.run(
        words, capture_output=True, text=True, check=False, timeout=60
    ).stdout.strip()


def left_of(board: EmulatedBoard, record: machine.Record) -> list[str]:
    """What is still on the machine of a board that ran as ``record``."""
    left = [
        str(one.board(record.id)) for one in cgroups.hierarchies() if one.board(record.id).exists()
    ]
    left += [record.link] if Path("/sys/class/net", record.link).exists() else []
    left += [str(pid) for pid in (record.supervisor, record.launcher) if start_time(pid)]
    left += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(board.config.directory) in line]  # fmt: skip
    others = machine.records()
    if (
        not others
        and Path("/sys/class/net", network.BRIDGE).exists()
        and not list(machine.RUN.glob("holder-*"))
    ):
        left.append(network.BRIDGE)
    if not others and binfmt.TABLE.is_dir():
        left += [name for name in os.listdir(binfmt.TABLE) if name.startswith("pinnace-")]
    return left


def record_of(board: EmulatedBoard) -> machine.Record:
    return next(one for one in machine.records() if one.id == board.id)


def test_power_off_from_inside_leaves_nothing(board: EmulatedBoard) -> None:
    record = record_of(board)
    subprocess.run(board.ssh_command(["sudo", "poweroff"]), capture_output=True, check=False)
    assert machine.wait_until(lambda: not board.is_running, 60)
    assert machine.wait_until(lambda: left_of(board, record) == [], 10), left_of(board, record)


def test_stop_leaves_nothing_and_starting_again_is_quick(board: EmulatedBoard) -> None:
    board.ensure_started()
    record = record_of(board)
    board.stop()
    assert not board.is_running
    assert left_of(board, record) == []
    began = time.monotonic()
    board.start()
    assert time.monotonic() - began < 60


def test_a_killed_supervisor_is_noticed_and_cleaned_up(board: EmulatedBoard) -> None:
    board.ensure_started()
    record = record_of(board)
    os.kill(record.supervisor, signal.SIGKILL)
    assert machine.wait_until(lambda: not board.is_running, 10)
    board.start()  # takes the remains away first
    assert start_time(record.launcher) != record.launcher_started
    assert on(board, "uname", "-m") == board.arch.facts.machine


def test_boards_reach_each_other(board: EmulatedBoard) -> None:
    board.ensure_started()
    second = EmulatedBoard(find("emu-amd64-second"))
    try:
        second.ensure_started(yes=True)
        assert second.address != board.address
        probe = (
            f"import socket; print(socket.create_connection(('{second.address}', 22), 10).recv(3))"
        )
        assert on(board, "python3", "-c", f'"{probe}"') == "b'SSH'"
    finally:
        second.destroy()


def test_a_board_that_cannot_start_leaves_nothing(board: EmulatedBoard) -> None:
    board.stop()
    broken = EmulatedBoard(find("emu-amd64-broken"))
    try:
        broken.create(yes=True)
        (broken.config.storage).rmdir()
        with pytest.raises(Exception, match=r"did not start: .*var/lib/pinnace failed"):
            broken.start()
        assert not broken.is_running
        assert [one for one in machine.records() if one.name == broken.name] == []
    finally:
        broken.destroy()
