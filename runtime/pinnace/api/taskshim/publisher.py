"""Tells containerd what happens: one event after another, each until it was taken, without ever making the shim wait."""

from __future__ import annotations

import contextlib
import select
import socket
import sys
import time
from collections import deque
from typing import TYPE_CHECKING

from pinnace.api import ttrpc
from pinnace.api.schema import eventservice as wire
from pinnace.api.schema.types import Envelope
from pinnace.api.schema.wellknown import Any, Timestamp
from pinnace.errors import Error
from pinnace.keeper.loop import READ

if TYPE_CHECKING:
    from pinnace.api.codec import Message
    from pinnace.keeper.loop import Loop

MAX_EVENTS = 2048
"""That wait while nobody listens; older ones are dropped then, as a containerd that is away so long asks for states."""
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0


class Publisher:
    """The events of one shim, in their order. With an empty address nobody is told."""

    def __init__(self, loop: Loop, address: str, namespace: str) -> None:
        self._loop = loop
        self._address = address.removeprefix("unix://")
        self._namespace = namespace
        self._events: deque[Envelope] = deque()
        self._socket: socket.socket | None = None
        self._frames = ttrpc.Frames()
        self._stream = -1
        self._is_asked = False
        self._wait = _FIRST_WAIT

    def publish(self, topic: str, event: Message) -> None:
        """Tell of an event as soon as that can be."""
        if not self._address:
            return
        stamp = Timestamp.of(time.time_ns())
        self._events.append(
            Envelope(timestamp=stamp, namespace=self._namespace, topic=topic, event=Any.pack(event))
        )
        if len(self._events) > MAX_EVENTS:
            self._events.popleft()
        self._tell()

    def try_again(self) -> None:
        """Somebody is there who may listen."""
        self._wait = _FIRST_WAIT
        if self._events:
            self._loop.alarm(0, self._tell)

    def flush(self, seconds: float) -> None:
        """Wait until all is told, for so long at most, or until nobody listens."""
        end = time.monotonic() + seconds
        self._tell()
        while self._events and self._socket is not None and time.monotonic() < end:
            poll = select.poll()
            poll.register(self._socket, READ)
            if poll.poll(max(0.0, end - time.monotonic()) * 1000):
                self._readable(READ)

    def _tell(self) -> None:
        """Send the first event, unless one is under way."""
        if not self._events or self._is_asked:
            return
        try:
            sock = self._socket or self._connect()
            self._stream += 2
            request = wire.ForwardRequest(envelope=self._events[0])
            # Small, and the only one: it fits into the socket.
            sock.sendall(ttrpc.request(self._stream, wire.ShimEvents.forward, request))
            self._is_asked = True
        except OSError:
            self._lost()

    def _connect(self) -> socket.socket:
        sock = socket.socket(
            socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        )
        try:
            sock.connect(self._address)
        except OSError:
            sock.close()
            raise
        self._socket, self._frames, self._stream = sock, ttrpc.Frames(), -1
        self._loop.watch(sock.fileno(), READ, self._readable)
        return sock

    def _readable(self, _: int) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(65536)
            frames = self._frames.feed(data)
        except BlockingIOError:
            return
        except (OSError, Error):
            data, frames = b"", []
        if not data:
            self._lost()
            return
        for frame in frames:
            if (frame.stream, frame.kind) == (self._stream, ttrpc.RESPONSE) and self._is_asked:
                self._taken(frame)
        self._tell()

    def _taken(self, frame: ttrpc.Frame) -> None:
        self._is_asked, self._wait = False, _FIRST_WAIT
        event = self._events.popleft()
        try:
            ttrpc.check(ttrpc.Response.decode(frame.body))
        except Error as problem:
            # It would not be taken the next time either.
            sys.stderr.write(f"pinnace-shim: event {event.topic} was refused: {problem}\n")

    def _lost(self) -> None:
        """Nobody listens: again later."""
        self._is_asked = False
        if self._socket is not None:
            self._loop.forget(self._socket.fileno())
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None
        if self._events:
            self._loop.alarm(self._wait, self._tell)
            self._wait = min(2 * self._wait, _LONGEST_WAIT)
