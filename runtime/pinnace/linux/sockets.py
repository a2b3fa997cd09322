"""Unix sockets as daemon and shims use them, and what Python's module cannot say the same way on every processor."""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING

from pinnace.errors import SHORTAGES, Unavailable, described, from_os

if TYPE_CHECKING:
    from collections.abc import Callable

_SO_SNDTIMEO_OLD = 21
"""asm-generic/socket.h, the number with two C longs on all our processors.

Python has the C library's number, which on a 32-bit system with 64-bit times (Debian 13) is another one
that takes two 64-bit words.
"""


def limit_sending(connection: socket.socket, seconds: int) -> None:
    """Let connecting and sending fail with EAGAIN when they take longer; receiving has no limit."""
    limit = struct.pack("ll", seconds, 0)  # struct timeval
    connection.setsockopt(socket.SOL_SOCKET, _SO_SNDTIMEO_OLD, limit)


def connect(path: str, seconds: int) -> socket.socket:
    """A connection to a socket's path, on which connecting and sending have that limit.

    Raises Unavailable when nobody listens or answers, ResourceExhausted when that can't be known, as there is no descriptor.
    """
    try:
        found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    except OSError as problem:
        raise from_os(problem, f"connect to {path}") from None
    limit_sending(found, seconds)
    try:
        found.connect(path)
    except BlockingIOError:
        found.close()
        raise Unavailable(f"cannot connect to {path}: timed out") from None
    except OSError as problem:
        found.close()
        if problem.errno in SHORTAGES:
            raise from_os(problem, f"connect to {path}") from None
        reason = os.strerror(problem.errno) if problem.errno else str(problem)
        raise Unavailable(f"cannot connect to {path}: {reason}") from None
    return found


def start_reader(connection: socket.socket, read: Callable[[], None], name: str) -> None:
    """Have a thread of its own read from a connection. Raises ResourceExhausted without one; the connection is closed then."""
    import threading  # a millisecond that a cold runc does not need

    try:
        threading.Thread(target=read, name=name, daemon=True).start()
    except RuntimeError as problem:
        connection.close()
        raise described(problem) from None
