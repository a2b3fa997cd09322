"""A ttrpc client on a unix socket: what speaks to containerd's shims, and a shim to its daemon.

One thread reads the answers, which come in any order: a ``Wait`` is answered hours after what was asked later.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, TypeVar

from pinnace import errors
from pinnace.api import ttrpc
from pinnace.api.codec import Message
from pinnace.linux import sockets

if TYPE_CHECKING:
    from collections.abc import Callable

    from pinnace.api.method import Method

    OnAnswer = Callable[[bytes | errors.Error], None]

_SEND_SECONDS = 30

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


class TtrpcClient:
    """One connection; its methods may be called from any thread. Use as a context, or close it."""

    def __init__(
        self, address: str, *, timeout: float = 30.0, on_close: Callable[[], None] | None = None
    ) -> None:
        """Raises :class:`Unavailable` when nothing listens, :class:`ResourceExhausted`.

        ``timeout`` (seconds) is for each answer, ``on_close`` is called when the peer has gone, not after :meth:`close`.
        """
        self.address = address.removeprefix("unix://")
        self._timeout = timeout
        self._on_close = on_close
        self._lock = threading.Lock()
        self._waiting: dict[int, OnAnswer] = {}
        self._stream = -1
        self._closed = False
        self._socket = sockets.connect(self.address, _SEND_SECONDS)
        sockets.start_reader(self._socket, self._read_all, "ttrpc")

    def __enter__(self) -> TtrpcClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection; calls under way fail."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def call(
        self, method: Method[Request, Response], request: Request, timeout: float = 0
    ) -> Response:
        """One request, one answer; raises the error of its status, DeadlineExceeded, Unavailable."""
        answers: list[bytes | errors.Error] = []
        came = threading.Event()

        def take(answer: bytes | errors.Error) -> None:
            answers.append(answer)
            came.set()

        stream = self._send(method, request, take)
        if not came.wait(timeout or self._timeout):
            with self._lock:
                self._waiting.pop(stream, None)
            raise errors.DeadlineExceeded(f"{method.path}: no answer in time")
        if isinstance(answers[0], errors.Error):
            raise answers[0]
        return method.response.decode(answers[0])

    def begin(
        self,
        method: Method[Request, Response],
        request: Request,
        on_answer: Callable[[Response], None],
    ) -> None:
        """Ask, and call back from the reading thread (so briefly) with the answer; an error is nobody's."""

        def take(answer: bytes | errors.Error) -> None:
            if not isinstance(answer, errors.Error):
                on_answer(method.response.decode(answer))

        self._send(method, request, take)

    def _send(self, method: Method[Request, Response], request: Request, take: OnAnswer) -> int:
        with self._lock:
            self._stream += 2
            stream = self._stream
            data = ttrpc.request(stream, method, request)
            self._waiting[stream] = take
            try:
                self._socket.sendall(data)
            except OSError as problem:
                del self._waiting[stream]
                raise errors.Unavailable(f"{self.address}: {problem.strerror}") from None
        if self._closed:
            self._fail_all()
        return stream

    def _read_all(self) -> None:
        frames = ttrpc.Frames()
        # A peer that talks nonsense is as good as gone.
        with contextlib.suppress(OSError, errors.Error):
            while data := self._socket.recv(65536):
                for frame in frames.feed(data):
                    self._take(frame)
        gone, self._closed = not self._closed, True
        self._fail_all()
        with self._lock:
            self._socket.close()
        if gone and self._on_close is not None:
            self._on_close()

    def _take(self, frame: ttrpc.Frame) -> None:
        if frame.kind != ttrpc.RESPONSE:
            return
        with self._lock:
            take = self._waiting.pop(frame.stream, None)
        if take is None:
            return
        try:
            answer: bytes | errors.Error = ttrpc.check(ttrpc.Response.decode(frame.body))
        except errors.Error as problem:
            answer = problem
        take(answer)

    def _fail_all(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for take in waiting.values():
            take(errors.Unavailable(f"{self.address}: the connection ended"))
