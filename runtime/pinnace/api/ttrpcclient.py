"""A blocking ttrpc client on a unix socket: what containerd's shims speak.

A frame is a header of ten bytes (length and stream as big-endian 32-bit numbers, type, flags) and a message: a
request names service and method around its payload, a response has a status or a payload
(github.com/containerd/ttrpc, PROTOCOL.md).
"""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING, TypeVar

from pinnace import errors
from pinnace.api import codec as pb
from pinnace.api import grpc
from pinnace.api.codec import Message
from pinnace.api.schema.status import Status

if TYPE_CHECKING:
    from pinnace.api.method import Method

_HEADER = struct.Struct(">IIBB")
_REQUEST, _RESPONSE = 1, 2
_MOST_BYTES = 4 << 20

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


class _Request(pb.Message):
    service = pb.string(1)
    method = pb.string(2)
    payload = pb.data(3)
    timeout_nano = pb.int64(4)


class _Response(pb.Message):
    status = pb.message(1, Status)
    payload = pb.data(2)


class TtrpcClient:
    """One connection; one call at a time. Use as a context."""

    def __init__(self, address: str, *, timeout: float = 30.0) -> None:
        """Raises :class:`Unavailable` when nothing listens; ``timeout`` (seconds) is for each answer."""
        self.address = address.removeprefix("unix://")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(timeout)
        self._stream = -1
        try:
            self._socket.connect(self.address)
        except OSError as problem:
            self._socket.close()
            reason = os.strerror(problem.errno) if problem.errno else "timed out"
            raise errors.Unavailable(f"cannot connect to {self.address}: {reason}") from None

    def __enter__(self) -> TtrpcClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def call(self, method: Method[Request, Response], request: Request) -> Response:
        """One request, one answer; raises the error of its status."""
        self._stream += 2  # a client's streams have odd numbers
        service, _, name = method.path.strip("/").partition("/")
        body = _Request(service=service, method=name, payload=request.encode()).encode()
        try:
            self._socket.sendall(_HEADER.pack(len(body), self._stream, _REQUEST, 0) + body)
            answer = self._answer()
        except TimeoutError:
            raise errors.DeadlineExceeded(f"{method.path}: no answer in time") from None
        except OSError as problem:
            raise errors.Unavailable(f"{self.address}: {problem.strerror}") from None
        if answer.status is not None and answer.status.code:
            raise grpc.status_error(answer.status.code, answer.status.message)
        return method.response.decode(answer.payload)

    def _answer(self) -> _Response:
        while True:
            length, stream, kind, _ = _HEADER.unpack(self._read(_HEADER.size))
            if length > _MOST_BYTES:
                raise errors.DataLoss(f"{self.address} sent a frame of {length} bytes")
            body = self._read(length)
            if (stream, kind) == (self._stream, _RESPONSE):
                return _Response.decode(body)

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            chunk = self._socket.recv(count - len(data))
            if not chunk:
                raise errors.Unavailable(f"{self.address}: the connection ended")
            data += chunk
        return data
