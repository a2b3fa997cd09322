"""The server's side of a named stream: messages both ways, and byte streams with a window on it.

Bytes travel in ``Data`` messages; the receiver grants what the sender may send with
``WindowUpdate`` (containerd's core/transfer/streaming).
"""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import TYPE_CHECKING

from pinnace.api.frames import StreamClosed
from pinnace.api.schema.transfertypes import Data, WindowUpdate
from pinnace.api.schema.wellknown import Any
from pinnace.errors import Aborted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pinnace.api.codec import Message

CHUNK = 32 * 1024
"""Bytes per ``Data`` message, as containerd sends."""
WINDOW = 64 * 1024
"""What a receiver grants at once: whenever the sender may send less than this."""
SETTLE_SECONDS = 10.0
"""How long a client that grants otherwise is waited for at the end."""
_BLOCK = 512
_QUEUE = 64


class NamedStream:
    """A bidirectional stream of messages, used by another call than the one that made it."""

    def __init__(self, requests: Iterator[Any]) -> None:
        self._requests = requests
        self._queue: queue.Queue[Any | None] = queue.Queue(_QUEUE)
        self._closed = threading.Event()

    def receive(self) -> Any | None:
        """The client's next message, ``None`` when it has sent all; raises Aborted."""
        try:
            return next(self._requests, None)
        except StreamClosed:
            raise Aborted("the client has closed the stream") from None

    def send(self, message: Message) -> None:
        """Queue a message for the client, waiting for room; raises Aborted when it has gone."""
        packed = Any.pack(message)
        while not self._closed.is_set():
            try:
                self._queue.put(packed, timeout=1.0)
            except queue.Full:
                continue
            return
        raise Aborted("the client has closed the stream")

    def offer(self, message: Message) -> None:
        """Queue a message unless the client is behind; for what may be left out."""
        if not self._closed.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put_nowait(Any.pack(message))

    def outgoing(self) -> Iterator[Any]:
        """What was sent, until ``close``; for the call that made the stream."""
        while (message := self._queue.get()) is not None:
            yield message

    def close(self) -> None:
        """Nothing more will be sent; what is queued still goes out."""
        if not self._closed.is_set():
            self._closed.set()
            self._queue.put(None)

    def abandon(self) -> None:
        """The client has gone: nobody takes what is queued."""
        self._closed.set()
        while True:
            try:
                self._queue.get_nowait()
            except queue.Empty:
                break
        self._queue.put(None)


class ByteReader:
    """The bytes that the client sends on a stream, as a file."""

    def __init__(self, stream: NamedStream) -> None:
        self._stream = stream
        self._granted = 0
        self._buffer = b""

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes (all that come at once, if negative); empty at the end."""
        if not self._buffer:
            self._buffer = self._next()
        size = len(self._buffer) if size < 0 else size
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _next(self) -> bytes:
        while True:
            if self._granted < WINDOW:
                self._stream.send(WindowUpdate(update=WINDOW))
                self._granted += WINDOW
            message = self._stream.receive()
            if message is None:
                return b""
            if message.holds(Data):
                data = message.unpack(Data).data
                self._granted -= len(data)
                if data:
                    return data


def drain(reader: ByteReader, limit: int = WINDOW) -> None:
    """Read at most ``limit`` bytes more: an archive's padding, whose sender would complain of a closed stream."""
    with contextlib.suppress(Aborted):
        while limit > 0 and (data := reader.read()):
            limit -= len(data)


class ByteWriter:
    """Sends bytes to the client on a stream, as a file."""

    def __init__(self, stream: NamedStream) -> None:
        self._stream = stream
        self._granted = 0
        self._sent = 0

    @property
    def _room(self) -> int:
        return self._granted - self._sent

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Send all of ``data``, waiting for the client's window; raises Aborted when it left."""
        view = memoryview(data)
        while view:
            while self._room <= 0:
                self._wait_for_room()
            size = min(CHUNK, self._room, len(view))
            self._stream.send(Data(data=bytes(view[:size])))
            self._sent += size
            view = view[size:]
        return len(data)

    def settle_archive(self) -> None:
        """End a tar archive, and return when the client has stored it.

        containerd's ctr exits on the answer to its call, while it may still be writing what the
        stream brought. The protocol has no word for "stored", but a receiver takes a message only
        when it has stored those before, and grants more when the window is short. So zero blocks,
        which may follow a tar's end (POSIX, ustar), fill up the window, and one more block makes it
        short: the grant for that says that all before is stored.
        """
        timer = threading.Timer(SETTLE_SECONDS, self._stream.close)
        timer.start()
        try:
            self.write(bytes(-self._sent % WINDOW))
            self.write(bytes(_BLOCK))
            while self._room < WINDOW:
                self._wait_for_room()
        except Aborted:
            pass  # the client needs no more, or was waited for long enough
        finally:
            timer.cancel()

    def _wait_for_room(self) -> None:
        message = self._stream.receive()
        if message is None:
            raise Aborted("the client has closed the stream")
        if message.holds(WindowUpdate):
            self._granted += message.unpack(WindowUpdate).update
