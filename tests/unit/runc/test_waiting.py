"""The init that waits for a container: what it inherits, and that it ends when nobody wants one."""

from __future__ import annotations

import json
import os
import resource
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinnace.runc import waiting
from pinnace.runc.native import Description
from pinnace.runc.waiting import WaitingInit
from tests.unit.runc.test_native import program as program
from tests.unit.runc.test_native import pytestmark as pytestmark


@pytest.fixture
def init(program: Path) -> Iterator[WaitingInit]:
    made = WaitingInit(str(program))
    yield made
    made.dismiss()


def _end(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _carry_out(init: WaitingInit, description: Description, stdout: int) -> list[dict[str, object]]:
    """Have it take the steps; what it tells until its end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    steps = os.memfd_create("steps")
    os.write(steps, description.data())
    saved = os.dup(1)
    os.dup2(stdout, 1)
    try:
        with theirs:
            init.give(theirs.fileno(), steps, (0, 1, 2, theirs.fileno(), steps))
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(steps)
    told = []
    with ours:
        while record := ours.recv(1 << 16):
            told.append(json.loads(record))
    return told


def _prints(command: str) -> Description:
    to = Description()
    to.add("tell", '{"ready":true}')
    to.add("environment", (), "")
    to.add("program", ("sh", "-c", command), 1, ("/bin/sh",), ("/bin/sh",))
    to.add("close on exec", 3)
    to.add("execute")
    return to


def test_it_takes_steps_and_inherits_what_its_creator_has_by_then(init: WaitingInit) -> None:
    assert init.is_ready()
    source, sink = os.pipe()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    score = Path("/proc/self/oom_score_adj")
    before = score.read_text()
    higher = min(int(before) + 7, 1000)  # which takes no right
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 9, hard))
    try:
        score.write_text(str(higher))
        command = "ulimit -n; cat /proc/self/oom_score_adj; ls /proc/self/fd | wc -l"
        assert _carry_out(init, _prints(command), sink) == [{"ready": True}]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if os.geteuid() == 0:
            score.write_text(before)
    os.close(sink)
    with open(source) as output:
        assert output.read().split() == [str(soft - 9), str(higher), "4"]  # ls has a directory open
    assert _end(init.pid) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces are made by root")
def test_it_has_a_network_of_its_own(init: WaitingInit) -> None:
    assert init.is_ready()
    assert init.has_network
    assert os.readlink(f"/proc/{init.pid}/ns/net") != os.readlink("/proc/self/ns/net")


def test_it_ends_with_its_line(program: Path) -> None:
    init = WaitingInit(str(program))
    init.dismiss()
    assert _end(init.pid) in (0, 1)  # 1: it could not even say that it waits


def test_one_that_died_is_not_taken(program: Path) -> None:
    waiting.prepare("/bin/false")
    assert waiting.take(own_network=True) is None
    assert waiting.take(own_network=True) is None


def test_one_with_a_network_is_not_for_containers_with_the_hosts(program: Path) -> None:
    waiting.prepare(str(program))
    taken = waiting.take(own_network=False)
    assert taken is None or not taken.has_network


@pytest.mark.parametrize("words", [[], [3], [3, 4], [3, 4, 5, 6, 7], [3, 4, 5, -1]])
def test_a_malformed_message_ends_it(program: Path, words: list[int]) -> None:
    """None of these names as many descriptors as come with it, or one of them is no number of a descriptor."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    arguments = [str(program), str(theirs.fileno())]
    actions = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), theirs.fileno())]
    environment = {"ASAN_OPTIONS": "detect_leaks=0"}
    pid = os.posix_spawn(str(program), arguments, environment, file_actions=actions)
    with ours:
        theirs.close()
        assert ours.recv(256)
        socket.send_fds(ours, [struct.pack(f"={len(words)}i", *words) or b"\0"], [0, 1])
        assert ours.recv(256) == b""
    assert _end(pid) == 1
