"""The gRPC server: a unix socket, a reader per connection, a worker per call.

A service is an object whose methods are called like the methods that its schema class declares,
with the request (or an iterator of requests) and a ``Context``; streaming methods return an
iterator. Services are loaded when their first call arrives, so that an idle daemon is small.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from pinnace import errors
from pinnace.api import frames, grpc, hpack
from pinnace.api.accepting import accept
from pinnace.api.http2 import Connection
from pinnace.api.method import methods_of
from pinnace.api.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pinnace.api.codec import Message
    from pinnace.api.method import Method
    from pinnace.api.stream import Stream

    Loader = Callable[[], tuple[type, object]]
    Log = Callable[[str], None]

MAX_CONNECTIONS = 1000
"""More clients at once are turned away: each costs a thread."""

_OPENING = hpack.encode([(":status", "200"), ("content-type", grpc.CONTENT_TYPE)])
_OK, _CANCELED = 0, 1  # statuses of gRPC
_SUCCESS = hpack.encode([("grpc-status", "0")])


class Context:
    """What a handler may know of its call besides the request."""

    def __init__(self, stream: Stream, deadline: float | None) -> None:
        self._stream = stream
        self.deadline = deadline
        self.metadata: dict[str, str] = dict(stream.headers or ())

    @property
    def lease(self) -> str:
        """The lease that new content and snapshots belong to, empty without one."""
        return self.metadata.get("containerd-lease", "")

    @property
    def namespace(self) -> str:
        """The namespace of the call; raises ``FailedPrecondition`` when it names none."""
        namespace = self.metadata.get("containerd-namespace", "")
        if not namespace:
            raise errors.FailedPrecondition("namespace is required")
        return namespace

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Call back (from the connection's thread, so briefly) when the client has gone."""
        stream = self._stream
        with stream.changed:
            gone = stream.error is not None
            if not gone:
                stream.on_close = callback
        if gone:
            callback()

    @property
    def cancelled(self) -> bool:
        return self._stream.error is not None

    def remaining(self) -> float | None:
        """Seconds until the client's deadline, ``None`` without one."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())


class Counting(Protocol):
    """Who counts calls: by path, kind (``unary``, ``server_stream`` ...) and gRPC status."""

    def began(self, path: str, kind: str) -> None: ...
    def ended(self, path: str, kind: str, status: int) -> None: ...


class Server:
    """Serves ``services`` (name to loader) on a listening unix socket until ``stop``."""

    def __init__(
        self,
        listener: socket.socket,
        services: Mapping[str, Loader],
        on_connection: Log = lambda line: None,
        on_failure: Log = lambda line: None,
        calls: Counting | None = None,
        on_rest: Callable[[], None] = lambda: None,
    ) -> None:
        self._listener = listener
        self._services = services
        self._on_connection = on_connection
        self._on_failure = on_failure
        self._calls = calls
        self._routes: dict[str, tuple[Method[Message, Message], Any]] = {}
        self._loaded: set[str] = set()
        self._load_lock = threading.Lock()
        self._workers = Workers("grpc", on_rest)
        self._budget = grpc.Budget(grpc.MESSAGES_UNDER_WAY)
        self._connections: set[Connection] = set()
        self._stopping = threading.Event()

    def serve(self) -> None:
        """Accept connections until ``stop``; each is served by threads of its own."""
        while (sock := accept(self._listener, self._stopping, self._on_failure)) is not None:
            if len(self._connections) >= MAX_CONNECTIONS:
                self._on_failure(f"refused the connection from {_peer(sock)}: there are too many")
                sock.close()
                continue
            self._on_connection(f"connection from {_peer(sock)}")
            connection = Connection(sock, self._on_stream)
            self._connections.add(connection)
            try:
                self._workers.submit(partial(self._run, connection))
            except RuntimeError as problem:  # no more threads
                self._on_failure(f"cannot serve {_peer(sock)}: {problem}")
                self._connections.discard(connection)
                connection.close()

    def interrupt(self) -> None:
        """Let ``serve`` return; connections stay as they are."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)

    def stop(self, grace: float = 5.0) -> None:
        """Refuse new calls, let those under way end for ``grace`` seconds, then close."""
        self.interrupt()
        self._listener.close()
        for connection in list(self._connections):
            connection.drain()
        end = time.monotonic() + grace
        while time.monotonic() < end and any(c.active for c in list(self._connections)):
            time.sleep(0.02)
        for connection in list(self._connections):
            connection.close("the daemon is stopping")

    def _run(self, connection: Connection) -> None:
        try:
            connection.start()
            connection.run()
        except frames.StreamClosed:
            connection.close()  # the peer left before we had greeted it
        finally:
            self._connections.discard(connection)

    def _on_stream(self, stream: Stream) -> None:
        try:
            self._workers.submit(partial(self._call, stream))
        except RuntimeError as problem:  # no more threads
            self._on_failure(f"cannot answer a call: {problem}")
            stream.reset(frames.REFUSED_STREAM)
            stream.connection.released(stream)

    def _call(self, stream: Stream) -> None:
        try:
            self._answer(stream)
        except frames.StreamClosed:
            pass  # nobody waits for the answer any more
        finally:
            stream.reset(frames.NO_ERROR)
            stream.connection.released(stream)

    def _answer(self, stream: Stream) -> None:
        headers = dict(stream.headers or ())
        path = headers.get(":path", "")
        if not headers.get("content-type", "").startswith(grpc.CONTENT_TYPE):
            stream.write_headers(hpack.encode([(":status", "415")]), end=True)
            return
        answer = _Answer(stream)
        try:
            method, handler = self._route(path)
            if self._calls is not None:
                self._calls.began(path, method.kind)
            timeout = grpc.parse_timeout(headers.get("grpc-timeout", ""))
            deadline = None if timeout is None else time.monotonic() + timeout
            self._handle(method, handler, Context(stream, deadline), answer)
            answer.finish()
        except errors.Error as problem:
            answer.fail(problem.grpc_status, str(problem))
        except TimeoutError:
            answer.fail(errors.DeadlineExceeded.grpc_status, "the call's deadline has passed")
        except frames.StreamClosed:
            raise
        except Exception as problem:
            self._log_failure(path)
            shown = errors.described(problem)
            if isinstance(shown, errors.ResourceExhausted):
                answer.fail(shown.grpc_status, str(shown))
            else:
                answer.fail(grpc.UNKNOWN, f"{type(problem).__name__}: {problem}")
        finally:
            found = self._routes.get(path)
            if self._calls is not None and found is not None:
                self._calls.ended(path, found[0].kind, answer.status)

    def _handle(
        self, method: Method[Message, Message], handler: Any, context: Context, answer: _Answer
    ) -> None:
        reader = grpc.MessageReader(context._stream, budget=self._budget)
        if method.request_stream:
            request: Any = _requests(method, reader)
        else:
            data = reader.read(context.deadline)
            if data is None:
                raise errors.InvalidArgument("the call has no request")
            request = method.request.decode(data)
        result = handler(request, context)
        if not method.response_stream:
            answer.message(result, last=True)
            return
        try:
            for response in result:
                answer.message(response)
        finally:
            result.close()

    def _route(self, path: str) -> tuple[Method[Message, Message], Any]:
        found = self._routes.get(path)
        if found is None:
            self._load(path.rpartition("/")[0].lstrip("/"))
            found = self._routes.get(path)
        if found is None:
            raise errors.Unimplemented(f"unknown method {path}")
        return found

    def _load(self, name: str) -> None:
        with self._load_lock:
            if name in self._loaded or name not in self._services:
                return
            schema, service = self._services[name]()
            for attribute, method in methods_of(schema).items():
                handler = getattr(service, attribute, None)
                if handler is not None:
                    self._routes[method.path] = (method, handler)
            self._loaded.add(name)

    def _log_failure(self, path: str) -> None:
        import traceback

        _, problem, _ = sys.exc_info()
        self._on_failure(f"{path} failed: {''.join(traceback.format_exception(problem))}")


class _Answer:
    """Sends messages and the status of one call, in as few writes as its shape allows."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._opened = False
        self.status = _CANCELED

    def message(self, message: Message, *, last: bool = False) -> None:
        data = grpc.framed(message.encode())
        opening = b"" if self._opened else _OPENING
        self._opened = True
        if last:
            self.status = _OK
        self._stream.write_answer(opening, data, _SUCCESS if last else b"")

    def finish(self) -> None:
        self.status = _OK
        if self._stream.finished:
            return
        if not self._opened:
            self._stream.write_headers(_OPENING)
        self._stream.write_headers(_SUCCESS, end=True)

    def fail(self, status: int, message: str) -> None:
        self.status = status
        words = grpc.in_containerds_words(status, message)
        headers = [("grpc-status", str(status)), ("grpc-message", grpc.quote(words))]
        if not self._opened:
            headers = [(":status", "200"), ("content-type", grpc.CONTENT_TYPE), *headers]
        self._stream.write_headers(hpack.encode(headers), end=True)


def _requests(method: Method[Message, Message], reader: grpc.MessageReader) -> Iterator[Message]:
    while (data := reader.read()) is not None:
        yield method.request.decode(data)


def _peer(sock: socket.socket) -> str:
    """Who connected, as the kernel says (unix(7), SO_PEERCRED)."""
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    except OSError as problem:
        return f"an unknown process ({problem})"
    pid, uid, gid = struct.unpack("iII", raw)
    return f"pid {pid} uid {uid} gid {gid}"
