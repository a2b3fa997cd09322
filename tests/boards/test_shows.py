"""What boards claim to show is true: each claim is tried on every board that makes it."""

from __future__ import annotations

import pytest

from toolkit.pytest_boards import RunningBoard

pytestmark = [pytest.mark.emulated, pytest.mark.timeout(900)]


def test_it_is_the_architecture_it_says(board: RunningBoard) -> None:
    names = {"armv6l": "armv6l", "armv7l": "armv7l", "arm64": "aarch64", "amd64": "x86_64"}
    assert board.run("uname -m").text == names[board.arch]


def test_systemd_runs_and_is_content(board: RunningBoard) -> None:
    assert board.run("systemctl is-system-running --wait", check=False).text == "running"


@pytest.mark.requires("seccomp")
def test_a_seccomp_filter_ends_a_program(board: RunningBoard) -> None:
    """Mode 1 (strict, seccomp(2)) leaves read, write and exit; anything else is fatal."""
    program = "import ctypes, os; ctypes.CDLL(None).prctl(22, 1, 0, 0, 0); os.getcwd()"
    assert board.run(f"sh -c 'python3 -c \"{program}\"; echo $?'").text == "137"


_NEW_TABLE = """
import socket, struct
def message(kind, flags, number, body):
    return struct.pack("=IHHII", 16 + len(body), kind, flags, number, 0) + body
generic = struct.pack("=BBH", 2, 0, 0)
name = struct.pack("=HH", 4 + 6, 1) + b"board\\0" + b"\\0\\0"
netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
netlink.settimeout(10)
netlink.send(
    message(16, 1, 1, struct.pack("=BBH", 0, 0, socket.htons(10)))
    + message(10 << 8, 0x405, 2, generic + name)
    + message(17, 1, 3, struct.pack("=BBH", 0, 0, socket.htons(10)))
)
print(struct.unpack_from("=i", netlink.recv(4096), 16)[0])
"""
"""A batch with NFT_MSG_NEWTABLE and what the kernel answers, 0 for done (linux/netfilter/nfnetlink.h)."""


@pytest.mark.requires("netfilter")
def test_the_kernel_takes_rules(board: RunningBoard) -> None:
    assert board.run("unshare -n python3 -", sudo=True, stdin=_NEW_TABLE.encode()).text == "0"


@pytest.mark.requires("user-namespaces")
def test_a_user_is_root_in_a_namespace_of_its_own(board: RunningBoard) -> None:
    assert board.run("unshare --user --map-root-user id -u").text == "0"


@pytest.mark.requires("ptrace")
def test_a_process_can_be_traced(board: RunningBoard) -> None:
    program = "import ctypes; print(ctypes.CDLL(None).ptrace(0, 0, 0, 0))"
    assert board.run(f"python3 -c '{program}'").text == "0"


@pytest.mark.requires("cgroup2")
def test_cgroup_version_2_has_the_controllers(board: RunningBoard) -> None:
    found = board.run("cat /sys/fs/cgroup/cgroup.controllers").text.split()
    assert {"cpu", "io", "memory", "pids"} <= set(found)


@pytest.mark.requires("memory-limit")
def test_a_memory_limit_kills(board: RunningBoard) -> None:
    limits = "-p MemoryMax=32M -p MemorySwapMax=0"
    program = "python3 -c 'len(bytes(1) * 200_000_000)'"
    board.run(program)
    assert board.run(
        f"systemd-run -q --wait --pipe {limits} {program}", sudo=True, check=False
    ).status


@pytest.mark.requires("pids-limit")
def test_a_limit_of_processes_refuses_the_next_one(board: RunningBoard) -> None:
    script = 'for i in $(seq 40); do sleep 5 & done; echo "still here"'
    done = board.run(
        ["systemd-run", "-q", "--wait", "--pipe", "-p", "TasksMax=16", "sh", "-c", script],
        sudo=True, check=False,
    )  # fmt: skip
    assert b"fork" in done.stderr


@pytest.mark.requires("sandboxing")
def test_a_service_has_a_temporary_directory_of_its_own(board: RunningBoard) -> None:
    board.run("touch /tmp/of-the-board")
    listed = board.run("systemd-run -q --wait --pipe -p PrivateTmp=yes ls /tmp", sudo=True).text
    assert "of-the-board" not in listed


@pytest.mark.requires("own-kernel")
def test_a_sysctl_of_the_kernel_can_be_set(board: RunningBoard) -> None:
    board.run("sysctl -qw kernel.panic=7", sudo=True)
    assert board.run("cat /proc/sys/kernel/panic").text == "7"


@pytest.mark.requires("console")
def test_the_console_has_the_kernels_messages(board: RunningBoard) -> None:
    board.run("echo a word from the tests > /dev/kmsg", sudo=True)
    board.run("echo a word from the tests > /dev/console", sudo=True)
    assert "a word from the tests" in board.serial


@pytest.mark.requires("power-cut")
def test_a_power_cut_loses_what_was_not_synced_and_nothing_else(board: RunningBoard) -> None:
    board.run("echo kept > /root/kept && sync && echo lost > /root/lost", sudo=True)
    board.power_cut()
    board.start()
    assert board.run("cat /root/kept", sudo=True).text == "kept"
    assert board.run("test -s /root/lost", sudo=True, check=False).status != 0
    board.run("systemctl is-system-running --wait", check=False, timeout=300)
    assert board.run("systemctl --failed --no-legend --plain").text == ""
