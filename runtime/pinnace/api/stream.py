"""One HTTP/2 stream, which is one call: its windows, what has arrived, and its end."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from pinnace.api.frames import STREAM_WINDOW, Header, StreamClosed

if TYPE_CHECKING:
    from collections.abc import Callable

    from pinnace.api.http2 import Connection


class Stream:
    """One call. Its methods may be used by one reading and one writing thread at a time."""

    __slots__ = (
        "_consumed",
        "changed",
        "chunks",
        "connection",
        "ended",
        "error",
        "finished",
        "headers",
        "identifier",
        "on_close",
        "receive_window",
        "send_window",
        "trailers",
    )

    def __init__(self, connection: Connection, identifier: int, send_window: int) -> None:
        self.connection = connection
        self.identifier = identifier
        self.changed = threading.Condition(connection.lock)
        self.headers: list[Header] | None = None
        self.trailers: list[Header] | None = None
        self.chunks: deque[bytes] = deque()
        self.receive_window = STREAM_WINDOW
        self.send_window = send_window
        self.ended = False  # the peer has sent all
        self.finished = False  # we have sent all
        self.error: StreamClosed | None = None
        self.on_close: Callable[[], None] | None = None
        self._consumed = 0

    def wait_headers(self, deadline: float | None = None) -> list[Header]:
        """The peer's first headers. Raises ``StreamClosed``, ``TimeoutError``."""
        with self.changed:
            self._wait_for(lambda: self.headers is not None, deadline)
            assert self.headers is not None
            return self.headers

    def read(self, deadline: float | None = None) -> bytes:
        """The next bytes, empty at the end. Raises ``StreamClosed``, ``TimeoutError``."""
        with self.changed:
            self._wait_for(lambda: self.chunks or self.ended, deadline)
            if not self.chunks:
                return b""
            chunk = self.chunks.popleft()
            self.connection.held -= len(chunk)
            self._consumed += len(chunk)
            update = 0
            if self._consumed * 2 >= STREAM_WINDOW and not self.ended:
                update, self._consumed = self._consumed, 0
                self.receive_window += update
        if update:
            self.connection.window_update(self.identifier, update)
        return chunk

    def write_headers(self, headers: bytes, *, end: bool = False) -> None:
        """Send an encoded header block: the first headers or, with ``end``, the trailers."""
        with self.changed:
            self._check()
        self.connection.send_headers(self, headers, end=end)

    def write(self, data: bytes, *, end: bool = False, deadline: float | None = None) -> None:
        """Send data, waiting for the peer's windows. Raises ``StreamClosed``, ``TimeoutError``."""
        view, position = memoryview(data), 0
        while True:
            size = self._reserve(len(data) - position, deadline)
            last = position + size == len(data)
            self.connection.send_data(self, view[position : position + size], end=end and last)
            position += size
            if last:
                return

    def write_answer(self, opening: bytes, data: bytes, trailers: bytes) -> None:
        """Send headers, one message and trailers; in one write when the windows allow it."""
        size = len(data)
        with self.changed:
            self._check()
            at_once = size <= min(
                self.send_window, self.connection.send_window, self.connection.peer_frame
            )
            if at_once:
                self.send_window -= size
                self.connection.send_window -= size
        if at_once:
            self.connection.send_answer(self, opening, data, trailers)
            return
        if opening:
            self.connection.send_headers(self, opening, end=False)
        self.write(data)
        if trailers:
            self.write_headers(trailers, end=True)

    def _reserve(self, wanted: int, deadline: float | None) -> int:
        """Take up to ``wanted`` bytes (0 is free) from both windows."""
        connection = self.connection
        with self.changed:
            self._check()
            if wanted:
                self._wait_for(lambda: min(self.send_window, connection.send_window) > 0, deadline)
            size = min(wanted, self.send_window, connection.send_window, connection.peer_frame)
            size = max(size, 0)
            self.send_window -= size
            connection.send_window -= size
            return size

    def reset(self, code: int) -> None:
        """End the stream at once, in both directions; nothing happens when it has ended."""
        self.connection.reset_stream(self, code)

    def _check(self) -> None:
        if self.error is not None:
            raise self.error

    def _wait_for(self, ready: Callable[[], object], deadline: float | None) -> None:
        """Raises ``StreamClosed`` when the stream has ended before, ``TimeoutError``."""
        if not ready():
            self.connection.wait_for(self, lambda: ready() or self.error is not None, deadline)
            if not ready():
                self._check()

    def wait(self, deadline: float | None) -> None:
        """Wait for a change, or a while; ``changed`` is held. Raises ``TimeoutError``."""
        if deadline is None:
            self.changed.wait()
            return
        left = deadline - time.monotonic()
        if left <= 0 or (not self.changed.wait(left) and time.monotonic() >= deadline):
            raise TimeoutError
