"""The daemon's second socket, on which shims tell what happened: ttrpc, unary calls, few and small.

A connection has a thread, which answers one call after another: a shim's events stay in their order.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from pinnace import errors
from pinnace.api import grpc, ttrpc
from pinnace.api.accepting import accept
from pinnace.api.method import methods_of
from pinnace.linux import sockets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pinnace.api.codec import Message
    from pinnace.api.method import Method
    from pinnace.api.server import Loader

    Route = tuple[Method[Message, Message], Any]

MAX_CONNECTIONS = 1000
"""More at once are turned away: each costs a thread."""


class TtrpcServer:
    """Serves ``services`` (name to loader) on a listening unix socket; a handler gets the request alone."""

    def __init__(
        self, listener: socket.socket, services: Mapping[str, Loader], log: Callable[[str], None]
    ) -> None:
        self._listener = listener
        self._services = services
        self._log = log
        self._routes: dict[str, Route] = {}
        self._connections: set[socket.socket] = set()
        self._stopping = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._serve, name="ttrpc-accept", daemon=True).start()

    def stop(self) -> None:
        """Accept no more, and let go of those who are connected."""
        self._stopping.set()
        for each in (self._listener, *list(self._connections)):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while (connection := accept(self._listener, self._stopping, self._log)) is not None:
            if len(self._connections) >= MAX_CONNECTIONS:
                connection.close()
                continue
            self._connections.add(connection)
            try:
                sockets.start_reader(connection, partial(self._attend, connection), "ttrpc")
            except errors.Error as problem:
                self._log(f"cannot listen to a shim: {problem}")
                self._connections.discard(connection)

    def _attend(self, connection: socket.socket) -> None:
        frames = ttrpc.Frames()
        # Who talks nonsense, or leaves, loses this connection only.
        with contextlib.suppress(OSError, errors.Error), connection:
            while data := connection.recv(65536):
                for frame in frames.feed(data):
                    if frame.kind == ttrpc.REQUEST:
                        connection.sendall(self._answer(frame))
        self._connections.discard(connection)

    def _answer(self, frame: ttrpc.Frame) -> bytes:
        try:
            request = ttrpc.Request.decode(frame.body)
            method, handler = self._route(request.service, request.method)
            found = handler(method.request.decode(request.payload))
            return ttrpc.answer(frame.stream, found)
        except errors.Error as problem:
            return ttrpc.failure(frame.stream, problem.grpc_status, str(problem))
        except (ValueError, TypeError, KeyError, struct.error) as problem:
            self._log(f"a call of a shim failed: {problem!r}")
            return ttrpc.failure(frame.stream, grpc.UNKNOWN, f"{type(problem).__name__}: {problem}")

    def _route(self, service: str, name: str) -> Route:
        path = f"/{service}/{name}"
        if path not in self._routes and service in self._services:
            schema, handlers = self._services[service]()
            for attribute, method in methods_of(schema).items():
                self._routes[method.path] = (method, getattr(handlers, attribute))
        if path not in self._routes:
            raise errors.Unimplemented(f"unknown method {path}")
        return self._routes[path]
