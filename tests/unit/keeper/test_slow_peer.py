"""A shim's answers to a peer that does not read them at once."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator

import pytest

from pinnace.keeper.connection import Connection
from pinnace.keeper.loop import READ, Loop
from pinnace.keeper.protocol import Receiver


@pytest.fixture
def loop() -> Iterator[Loop]:
    before = signal.getsignal(signal.SIGCHLD)
    yield Loop(lambda _pid, _status: None)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, before)


def test_an_answer_larger_than_the_socket_takes_arrives_whole(loop: Loop) -> None:
    """A container with very many processes makes such answers; what follows must be readable, too."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        connection = Connection(ours, loop)
        loop.watch(ours.fileno(), READ, lambda _: connection.flush())
        pids = list(range(1, 200_000))
        connection.send({"id": 1, "result": {"pids": pids}})
        connection.send({"id": 2, "result": {}})
        receiver = Receiver(theirs)
        frames = []
        for _ in range(10_000):
            found, gone = receiver.receive()
            assert not gone
            frames += found
            if len(frames) == 2:
                break
            connection.flush()
        assert [frame["id"] for frame in frames] == [1, 2]
        assert frames[0]["result"]["pids"] == pids


def test_a_peer_that_never_reads_is_cut_off(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pinnace.keeper.connection._MAX_UNSENT", 1 << 20)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        connection = Connection(ours, loop)
        loop.watch(ours.fileno(), READ, lambda _: None)
        for _ in range(4):
            connection.send({"text": "x" * (1 << 19)})
        assert ours.recv(1) == b""
