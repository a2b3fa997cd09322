"""The sockets of keeper and shims, when several processes want one path."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from pinnace.errors import AlreadyExists
from pinnace.keeper import sockets

_ROUNDS = 150
_AT_ONCE = 3
_SERVES = b"+"


def test_exactly_one_of_those_that_come_at_once_gets_the_path(tmp_path: Path) -> None:
    for number in range(_ROUNDS):
        assert _served(tmp_path / f"{number}") == 1


def test_what_a_killed_one_left_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    sockets.listen(path).close()
    with sockets.listen(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        with pytest.raises(AlreadyExists, match="already serves"):
            sockets.listen(path)
    assert os.listdir(tmp_path) == ["s"]


def _served(directory: Path) -> int:
    """How many of several processes got the path."""
    directory.mkdir()
    told, tell = os.pipe()
    stay, leave = os.pipe()
    go = time.monotonic() + 0.005
    children = [_child(str(directory / "s"), go, tell, (stay, leave)) for _ in range(_AT_ONCE)]
    answers = b"".join(os.read(told, 1) for _ in children)
    for fd in (told, tell, stay, leave):
        os.close(fd)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * _AT_ONCE
    return answers.count(_SERVES)


def _child(path: str, go: float, tell: int, stays: tuple[int, int]) -> int:
    """A process that tries at the moment ``go``, says how it went, and stays until the parent closes its end."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.close(stays[1])
        while time.monotonic() < go:
            pass
        try:
            with sockets.listen(path):
                os.write(tell, _SERVES)
                os.read(stays[0], 1)
        except AlreadyExists:
            os.write(tell, b"-")
        except BaseException:
            os.write(tell, b"?")
            raise
        status = 0
    finally:
        os._exit(status)
