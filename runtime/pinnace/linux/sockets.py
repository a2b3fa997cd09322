"""What Python's socket module cannot say the same way on every processor."""

from __future__ import annotations

import socket
import struct

_SO_SNDTIMEO_OLD = 21
"""asm-generic/socket.h, the number with two C longs on all our processors.

Python has the C library's number, which on a 32-bit system with 64-bit times (Debian 13) is another one
that takes two 64-bit words.
"""


def limit_sending(connection: socket.socket, seconds: int) -> None:
    """Let connecting and sending fail with EAGAIN when they take longer; receiving has no limit."""
    limit = struct.pack("ll", seconds, 0)  # struct timeval
    connection.setsockopt(socket.SOL_SOCKET, _SO_SNDTIMEO_OLD, limit)
