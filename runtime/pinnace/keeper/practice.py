"""A command that nobody asked for: what a keeper goes through once it has forked a spare.

From a fork on every page that is written to is copied first, in the keeper as well, and Python writes to whatever it
looks at. A request touches some two hundred pages: the first one after a fork took twice as long.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any

from pinnace.keeper.protocol import pack

OP = "practice"
_QUIET_MILLISECONDS, _QUIET_ALONE_MILLISECONDS = 10, 1000
_DESCRIPTORS = 5
"""Of a caller: three streams, a directory, a line."""


def quiet_milliseconds() -> int:
    """How long nothing has to be asked before motions are gone through.

    What comes sooner is one of many commands, as in a script, and would have to wait. Where there is one processor they
    take its time from a container that has just begun as well. On an emulated ARMv6 board they take half a second, which
    is what a command gains that comes later; commands in a loop took 0.7 s each without, and 1.1 s with them.
    """
    is_alone = len(os.sched_getaffinity(0)) == 1
    return _QUIET_ALONE_MILLISECONDS if is_alone else _QUIET_MILLISECONDS


def frame() -> dict[str, Any]:
    """A request as the launcher makes it."""
    return {
        "op": OP, "cwd_fd": True, "umask": 0o22, "oom_score_adj": 0, "rlimits": [[-1, -1]] * 16,
        "env": [[f"NAME_{number}", f"value {number}"] for number in range(20)],
        "argv": ["/usr/bin/runc", "--root", "/run/runc", "run", "practice"], "release": "",
    }  # fmt: skip


@contextlib.contextmanager
def caller() -> Iterator[socket.socket]:
    """A connection that the request has come on; its user closes it. Raises OSError."""
    theirs, ours = socket.socketpair()
    with theirs:
        socket.send_fds(theirs, [pack(frame())], [theirs.fileno()] * _DESCRIPTORS)
        yield ours


def hand_on(request: bytes, fds: list[int]) -> None:
    """Send a request as a spare is sent it; nobody reads it. Raises OSError."""
    line, other = socket.socketpair()
    with line, other:
        socket.send_fds(line, [request], fds)
