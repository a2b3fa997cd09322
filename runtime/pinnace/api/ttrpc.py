"""ttrpc, the protocol of containerd's shims: what its frames look like on the wire.

A frame is a header of ten bytes (length and stream as big-endian 32-bit numbers, type, flags) and a message: a
request names service and method around its payload, a response has a status or a payload
(github.com/containerd/ttrpc, PROTOCOL.md). Streams of clients have odd numbers. Nothing here waits or reads.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from pinnace import errors
from pinnace.api import codec as pb
from pinnace.api import grpc
from pinnace.api.schema.status import Status

if TYPE_CHECKING:
    from pinnace.api.codec import Message
    from pinnace.api.method import Method

REQUEST, RESPONSE, DATA = 1, 2, 3
MOST_BYTES = 4 << 20
"""Of a frame's message; the other side refuses more as well."""
HEADER = struct.Struct(">IIBB")


class KeyValue(pb.Message):
    key = pb.string(1)
    value = pb.string(2)


class Request(pb.Message):
    service = pb.string(1)
    method = pb.string(2)
    payload = pb.data(3)
    timeout_nano = pb.int64(4)
    metadata = pb.messages(5, KeyValue)


class Response(pb.Message):
    status = pb.message(1, Status)
    payload = pb.data(2)


class Frame(NamedTuple):
    """One frame as it came."""

    stream: int
    kind: int
    body: bytes


def frame(stream: int, kind: int, message: Message) -> bytes:
    """The bytes of a frame; raises ResourceExhausted for more than a frame takes."""
    body = message.encode()
    if len(body) > MOST_BYTES:
        raise errors.ResourceExhausted(f"a message of {len(body)} bytes; {MOST_BYTES} is the most")
    return HEADER.pack(len(body), stream, kind, 0) + body


def request(stream: int, method: Method[Any, Any], message: Message) -> bytes:
    """A call's frame."""
    service, _, name = method.path.strip("/").partition("/")
    return frame(stream, REQUEST, Request(service=service, method=name, payload=message.encode()))


def answer(stream: int, message: Message) -> bytes:
    """The frame of an answer; one that is too large says so instead."""
    try:
        return frame(stream, RESPONSE, Response(status=Status(), payload=message.encode()))
    except errors.ResourceExhausted as problem:
        return failure(stream, problem.grpc_status, str(problem))


def failure(stream: int, status: int, message: str) -> bytes:
    """The frame of an error; its words end in its class, as containerd's do."""
    words = grpc.in_containerds_words(status, message)
    return frame(stream, RESPONSE, Response(status=Status(code=status, message=words)))


def check(response: Response) -> bytes:
    """The payload of an answer; raises the error of its status."""
    if response.status is not None and response.status.code:
        raise grpc.status_error(response.status.code, response.status.message)
    return response.payload


class Frames:
    """Takes frames out of bytes as they come."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are whole now; raises InvalidArgument for one that is too large."""
        self._buffer += data
        found = []
        while len(self._buffer) >= HEADER.size:
            length, stream, kind, _ = HEADER.unpack_from(self._buffer)
            if length > MOST_BYTES:
                raise errors.InvalidArgument(f"a frame of {length} bytes")
            end = HEADER.size + length
            if len(self._buffer) < end:
                break
            found.append(Frame(stream, kind, bytes(self._buffer[HEADER.size : end])))
            del self._buffer[:end]
        return found
