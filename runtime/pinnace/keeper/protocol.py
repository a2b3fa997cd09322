"""Frames on the keeper's and the shims' sockets: a little-endian u32 length, then a JSON object.

The first byte of a keeper's request may carry descriptors (unix(7), SCM_RIGHTS).
"""

from __future__ import annotations

import json
import os
import socket
import struct
from typing import Any

from pinnace.errors import InvalidArgument

VERSION = 1
"""Of what shims and daemons say to each other, told by a shim to who subscribes. A daemon takes over containers of older and
newer releases: methods, parameters and fields may be added in a new version, never changed or removed, and what one does not
know it leaves alone."""
MAX_FRAME = 16 << 20
"""Bytes of one frame; arguments and environment of a command are at most some 6 MB (execve(2))."""
_LENGTH = struct.Struct("<I")
_MAX_FDS = 8


def pack(document: dict[str, Any]) -> bytes:
    body = json.dumps(document, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return _LENGTH.pack(len(body)) + body


class Receiver:
    """Takes frames off a socket as they come, without ever blocking.

    Descriptors that came along are in ``fds``, close-on-exec, and belong to the receiver's user. ``raw`` are the frames
    of the last call as they came.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray()
        self.fds: list[int] = []
        self.raw: list[bytes] = []

    @property
    def is_busy(self) -> bool:
        """Whether part of a frame has come."""
        return bool(self._buffer or self.fds)

    def receive(self) -> tuple[list[dict[str, Any]], bool]:
        """The frames that are complete now, and whether the peer has hung up.

        Raises:
            InvalidArgument: what came is not a frame of ours.
        """
        try:
            data, fds, _, _ = socket.recv_fds(
                self._connection, 65536, _MAX_FDS, socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return [], False
        except ConnectionError:
            return [], True
        self.fds += fds
        if len(self.fds) > _MAX_FDS:
            raise InvalidArgument("too many descriptors")
        self._buffer += data
        return list(self._complete()), not data

    def _complete(self) -> list[dict[str, Any]]:
        frames = []
        self.raw = []
        while len(self._buffer) >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self._buffer)
            if size > MAX_FRAME:
                raise InvalidArgument(f"a frame of {size} bytes")
            if len(self._buffer) < _LENGTH.size + size:
                break
            raw = bytes(self._buffer[: _LENGTH.size + size])
            del self._buffer[: _LENGTH.size + size]
            frames.append(_parse(raw[_LENGTH.size :]))
            self.raw.append(raw)
        return frames

    def close_fds(self) -> None:
        for fd in self.fds:
            os.close(fd)
        self.fds.clear()


def _parse(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as problem:
        raise InvalidArgument(f"not a JSON frame: {problem}") from None
    if not isinstance(document, dict):
        raise InvalidArgument("a frame that is not an object")
    return document
