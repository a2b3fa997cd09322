"""A small HTTP server for what people and Prometheus read: GET, one request a connection, no state.

Not the standard library's: importing that costs the daemon more memory than all of this. A request that is too
long, too slow or anything but GET is refused; there are never more than a few at once.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, NamedTuple

from pinnace.api.accepting import accept

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Page = Callable[[Mapping[str, str]], "Answer"]

_MOST_BYTES = 8192
_SECONDS = 10.0
_AT_ONCE = 8
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 500: "Internal Server Error", 503: "Service Unavailable"}  # fmt: skip


class Answer(NamedTuple):
    """What a page says."""

    text: str
    status: int = 200
    content_type: str = "text/plain; charset=utf-8"


class Httpd:
    """Serves ``pages`` (path to function of the query) on a listening socket until ``stop``."""

    def __init__(
        self, listener: socket.socket, pages: Mapping[str, Page], on_failure: Callable[[str], None]
    ) -> None:
        self._listener = listener
        self._pages = pages
        self._on_failure = on_failure
        self._stopping = threading.Event()
        self._room = threading.BoundedSemaphore(_AT_ONCE)
        self._thread = threading.Thread(target=self._serve, name="httpd", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Refuse new connections; what is being answered ends by itself."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while (sock := accept(self._listener, self._stopping, self._on_failure)) is not None:
            sock.settimeout(_SECONDS)
            if not self._room.acquire(blocking=False):
                _refuse(sock, "too many requests at once")
                continue
            answering = threading.Thread(
                target=self._answer, args=(sock,), name="httpd-answer", daemon=True
            )
            try:
                answering.start()
            except RuntimeError as problem:  # no more threads
                self._room.release()
                self._on_failure(f"cannot answer a request: {problem}")
                _refuse(sock, str(problem))

    def _answer(self, sock: socket.socket) -> None:
        try:
            _send(sock, self._page(_request_line(sock)))
        finally:
            sock.close()
            self._room.release()

    def _page(self, line: str) -> Answer:
        parts = line.split(" ")
        if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
            return Answer("this is HTTP/1.1\n", 400)
        if parts[0] != "GET":
            return Answer("only GET is answered\n", 405)
        from urllib.parse import (  # 0.4 MB that an idle daemon does not need
            parse_qsl,
            unquote,
            urlsplit,
        )

        target = urlsplit(parts[1])
        page = self._pages.get(unquote(target.path))
        if page is None:
            known = " ".join(sorted(self._pages))
            return Answer(f"there is no {target.path[:200]} (there is: {known})\n", 404)
        try:
            return page(dict(parse_qsl(target.query)))
        except Exception as problem:
            self._on_failure(f"{target.path}: {type(problem).__name__}: {problem}")
            return Answer("it could not be made: see the daemon's log\n", 500)


def _request_line(sock: socket.socket) -> str:
    """The first line of a request that came whole; ``""`` for one that did not."""
    data = b""
    try:
        while b"\r\n\r\n" not in data:
            chunk = sock.recv(2048)
            data += chunk
            if not chunk or len(data) > _MOST_BYTES:
                return ""
    except OSError:
        return ""
    return data.split(b"\r\n", 1)[0].decode("latin-1")


def _refuse(sock: socket.socket, why: str) -> None:
    _send(sock, Answer(f"{why}\n", 503))
    sock.close()


def _send(sock: socket.socket, answer: Answer) -> None:
    body = answer.text.encode()
    head = (
        f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Error')}\r\n"
        f"Content-Type: {answer.content_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with contextlib.suppress(OSError):  # nobody waits any more
        sock.sendall(head.encode() + body)
