"""gRPC on HTTP/2: message framing, statuses and metadata, as both sides use them.

Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

import struct
import threading
from typing import TYPE_CHECKING

from pinnace import errors

if TYPE_CHECKING:
    from pinnace.api.stream import Stream

CONTENT_TYPE = "application/grpc"
MAX_MESSAGE = 16 * 1024 * 1024
"""Bytes of one message: containerd's limit in both directions."""

MESSAGES_UNDER_WAY = 4 * MAX_MESSAGE
"""Bytes of large messages that a server puts together at once."""

OK, CANCELLED, UNKNOWN, UNIMPLEMENTED, INTERNAL, UNAVAILABLE = 0, 1, 2, 12, 13, 14

_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}

_CLASS_WORDS = {
    1: "context canceled",
    3: "invalid argument",
    4: "context deadline exceeded",
    5: "not found",
    6: "already exists",
    7: "permission denied",
    8: "resource exhausted",
    9: "failed precondition",
    10: "aborted",
    11: "out of range",
    12: "not implemented",
    14: "unavailable",
    15: "data loss",
}
"""What a message of containerd ends in, by status code (github.com/containerd/errdefs): clients of the
series 1 add it where it is missing, those of series 2 print what they get."""


def in_containerds_words(status: int, message: str) -> str:
    """*message* with the word of its class behind it, as containerd sends it."""
    word = _CLASS_WORDS.get(status, "")
    if not word or message == word or message.endswith(f": {word}"):
        return message
    return f"{message}: {word}"


class Budget:
    """Bytes that large messages may take while they arrive, of all clients together.

    What is announced is taken from it before the first byte is kept: a hundred calls that each promise
    16 MiB and send most of it do not fill a small board's memory.
    """

    SMALL = 64 * 1024
    """Messages up to this size are free: their number is bounded by that of the streams."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """Raises ResourceExhausted when that much is not left."""
        with self._lock:
            if size > self._left:
                raise errors.ResourceExhausted("too many large messages are under way at once")
            self._left -= size

    def give_back(self, size: int) -> None:
        with self._lock:
            self._left += size


class MessageReader:
    """Takes the messages of a stream apart: a flag, a length and the message, each."""

    def __init__(
        self, stream: Stream, limit: int = MAX_MESSAGE, budget: Budget | None = None
    ) -> None:
        self._stream = stream
        self._limit = limit
        self._budget = budget
        self._buffer = bytearray()

    def read(self, deadline: float | None = None) -> bytes | None:
        """The next message, ``None`` at the end. Raises ``StreamClosed``, ``TimeoutError``."""
        if not self._fill(5, deadline):
            if self._buffer:
                raise errors.InvalidArgument("the stream ends in the middle of a message")
            return None
        compressed, size = struct.unpack_from("!BI", self._buffer)
        if compressed:
            raise errors.Unimplemented("compressed messages are not supported")
        if size > self._limit:
            raise errors.ResourceExhausted(
                f"a message of {size} bytes is larger than the limit of {self._limit}"
            )
        if self._budget is None or size <= Budget.SMALL:
            return self._take(size, deadline)
        self._budget.take(size)
        try:
            return self._take(size, deadline)
        finally:
            self._budget.give_back(size)

    def _take(self, size: int, deadline: float | None) -> bytes:
        if not self._fill(5 + size, deadline):
            raise errors.InvalidArgument("the stream ends in the middle of a message")
        message = bytes(self._buffer[5 : 5 + size])
        del self._buffer[: 5 + size]
        return message

    def _fill(self, size: int, deadline: float | None) -> bool:
        while len(self._buffer) < size:
            chunk = self._stream.read(deadline)
            if not chunk:
                return False
            self._buffer += chunk
        return True


def framed(message: bytes) -> bytes:
    """A message with its flag (not compressed) and length in front."""
    return struct.pack("!BI", 0, len(message)) + message


def quote(message: str) -> str:
    """``grpc-message``: UTF-8, percent-encoded outside of printable ASCII."""
    return "".join(
        chr(byte) if 0x20 <= byte <= 0x7E and byte != 0x25 else f"%{byte:02X}"
        for byte in message.encode("utf-8", "replace")
    )


def unquote(text: str) -> str:
    """The message behind a ``grpc-message`` header, whatever stands in it."""
    head, *parts = text.split("%")
    out = bytearray(head.encode("utf-8", "replace"))
    for part in parts:
        try:
            out += bytes.fromhex(part[:2]) + part[2:].encode("utf-8", "replace")
        except ValueError:
            out += b"%" + part.encode("utf-8", "replace")
    return out.decode("utf-8", "replace")


def parse_timeout(text: str) -> float | None:
    """Seconds of a ``grpc-timeout`` header; ``None`` when it is absent or malformed."""
    if len(text) < 2 or text[-1] not in _UNITS or not text[:-1].isdecimal() or len(text) > 9:
        return None
    return int(text[:-1]) * _UNITS[text[-1]]


def format_timeout(seconds: float) -> str:
    """A ``grpc-timeout`` header: at most 8 digits, the smallest unit that allows them."""
    milliseconds = max(1, round(seconds * 1000))
    return f"{milliseconds}m" if milliseconds < 10**8 else f"{min(int(seconds), 10**8 - 1)}S"


def status_error(status: int, message: str) -> errors.Error:
    """The error that a status of an answer means; its ``grpc_status`` is that status."""
    kind = errors.BY_STATUS.get(status)
    if kind is None:
        problem = errors.Error(message)
        problem.grpc_status = status
        return problem
    return kind(message)
