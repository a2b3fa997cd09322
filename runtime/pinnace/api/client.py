"""A blocking gRPC client on a unix socket, for the commands.

    channel = Channel("/run/pinnace/pinnace.sock", namespace="default")
    image = channel.unary(Images.get, GetImageRequest(name="registry.lab/busybox:1"))
    with channel.stream(Content.read, ReadContentRequest(digest=digest)) as call:
        for response in call: ...

Errors are those of ``pinnace.errors``: the daemon's status becomes the class, ``Unavailable`` says
that there is no daemon. A channel may be used from several threads, but not from a signal's handler.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pinnace import errors
from pinnace.api import frames, grpc, hpack
from pinnace.api.codec import Message
from pinnace.api.http2 import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Self

    from pinnace.api.method import Method
    from pinnace.api.stream import Stream

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


class Channel:
    """One connection to a daemon, made when it is first needed and again when it was lost.

    ``namespace`` and ``lease`` go with every call; ``timeout`` (seconds) is the deadline of a
    unary call that gives none; streams have none unless they ask.
    """

    def __init__(
        self,
        address: str,
        *,
        namespace: str = "",
        lease: str = "",
        timeout: float | None = None,
        connect_timeout: float = 10.0,
    ) -> None:
        self.address = address.removeprefix("unix://")
        self.metadata: dict[str, str] = {}
        if namespace:
            self.metadata["containerd-namespace"] = namespace
        if lease:
            self.metadata["containerd-lease"] = lease
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._lock = threading.Lock()
        self._connection: Connection | None = None

    def unary(
        self,
        method: Method[Request, Response],
        request: Request,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Response:
        """Call a method that has one request and one response."""
        limit = self._timeout if timeout is None else timeout
        return self.stream(method, request, timeout=limit, metadata=metadata).result()

    def stream(
        self,
        method: Method[Request, Response],
        request: Request | None = None,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Call[Request, Response]:
        """Start a call. With ``request`` nothing more is sent; else use the call's ``send``."""
        deadline = None if timeout is None else time.monotonic() + timeout
        headers = hpack.encode(self._headers(method.path, timeout, metadata or {}))
        data = b"" if request is None else grpc.framed(request.encode())
        try:
            stream = self._connected().open_stream(headers, data)
        except frames.StreamClosed as problem:
            raise errors.Unavailable(f"{self.address}: {problem.reason}") from None
        call: Call[Request, Response] = Call(method, stream, deadline, self.address)
        if request is not None and not stream.finished:
            call.send(request, last=True)
        return call

    def close(self) -> None:
        """End the connection; calls under way fail."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close("the channel was closed")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _headers(
        self, path: str, timeout: float | None, metadata: Mapping[str, str]
    ) -> list[tuple[str, str]]:
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "localhost"),
            ("content-type", grpc.CONTENT_TYPE),
            ("te", "trailers"),
        ]
        if timeout is not None:
            headers.append(("grpc-timeout", grpc.format_timeout(timeout)))
        headers += {**self.metadata, **metadata}.items()
        return headers

    def _connected(self) -> Connection:
        with self._lock:
            connection = self._connection
            if connection is not None:
                connection.catch_up()
            if connection is None or connection.closed or connection.draining:
                connection = self._connection = self._connect()
            return connection

    def _connect(self) -> Connection:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        sock.settimeout(self._connect_timeout)
        try:
            sock.connect(self.address)
        except OSError as problem:
            sock.close()
            reason = os.strerror(problem.errno) if problem.errno else "timed out"
            raise errors.Unavailable(
                f"cannot connect to {self.address}: {reason}",
                hint="is the daemon running? systemctl status pinnaced; or give --address",
            ) from None
        sock.settimeout(None)
        connection = Connection(sock)
        try:
            connection.start()
        except frames.StreamClosed as problem:
            raise errors.Unavailable(f"{self.address}: {problem.reason}") from None
        return connection


class Call(Generic[Request, Response]):
    """A call under way: send requests, receive responses, or iterate over these."""

    def __init__(
        self,
        method: Method[Request, Response],
        stream: Stream,
        deadline: float | None,
        address: str,
    ) -> None:
        self._method = method
        self._stream = stream
        self._deadline = deadline
        self._address = address
        self._reader = grpc.MessageReader(stream)
        self._finished = False

    def send(self, request: Request, *, last: bool = False) -> None:
        """Send a request, waiting as long as the daemon does not take it."""
        self._write(grpc.framed(request.encode()), last)

    def finish(self) -> None:
        """Say that no request will follow."""
        if not self._stream.finished:
            self._write(b"", last=True)

    def _write(self, data: bytes, last: bool) -> None:
        try:
            self._stream.write(data, end=last, deadline=self._deadline)
        except frames.StreamClosed as problem:
            # The daemon has ended the call early: its status tells why, unless it is gone itself.
            self._raise_status()
            raise errors.Unavailable(f"{self._address}: {problem.reason}") from None
        except TimeoutError:
            raise self._timed_out() from None

    def receive(self) -> Response | None:
        """The next response, ``None`` after the last; raises the error the call ended with."""
        try:
            data = self._reader.read(self._deadline)
            if data is not None:
                return self._method.response.decode(data)
            self._raise_status()
        except frames.StreamClosed as problem:
            raise self._lost(problem) from None
        except TimeoutError:
            raise self._timed_out() from None
        return None

    def result(self) -> Response:
        """The only response; raises the error the call ended with."""
        with self:
            response = self.receive()
            if response is None:
                raise errors.Error(f"{self._method.path} gave no response")
            self.receive()  # the status behind the response
            return response

    def fileno(self) -> int:
        """What poll(2) can wait for beside other things: when it is readable, ``arrived`` may be true."""
        return self._stream.connection.fileno()

    def arrived(self) -> bool:
        """Whether the call has ended, so that nothing of it has to be waited for."""
        self._stream.connection.catch_up()
        return self._stream.ended or self._stream.error is not None

    def cancel(self) -> None:
        """End the call at once; nothing happens when it has ended."""
        self._stream.reset(frames.CANCEL)

    def __iter__(self) -> Iterator[Response]:
        while (response := self.receive()) is not None:
            yield response

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.cancel()

    def _timed_out(self) -> errors.Error:
        self.cancel()
        return errors.DeadlineExceeded(f"{self._method.path}: no answer in time")

    def _lost(self, problem: frames.StreamClosed) -> errors.Error:
        if problem.code == frames.CANCEL and self._stream.connection.closed is None:
            return errors.Aborted(f"{self._method.path}: {problem.reason}")
        return errors.Unavailable(f"{self._address}: {problem.reason}")

    def _raise_status(self) -> None:
        """Raise what the trailers say unless it is success."""
        stream = self._stream
        opening = dict(stream.headers or ())
        trailers = dict(stream.trailers or ())
        status = trailers.get("grpc-status", opening.get("grpc-status"))
        if status is None:
            if not stream.ended:
                return
            code = opening.get(":status", "none")
            raise errors.Unavailable(f"{self._address} does not speak gRPC (HTTP status {code})")
        if status != "0":
            message = trailers.get("grpc-message", opening.get("grpc-message", ""))
            number = int(status) if status.isdecimal() else grpc.UNKNOWN
            raise grpc.status_error(number, grpc.unquote(message))
