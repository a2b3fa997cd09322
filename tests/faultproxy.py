"""A proxy between a client and a real registry that spoils what passes: one fault at a time, on demand."""

from __future__ import annotations

import http.client
import http.server
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple


class Answer(NamedTuple):
    """What the registry answered to the request that the handler holds."""

    status: int
    headers: dict[str, str]
    body: bytes


Fault = Callable[["Handler", Answer], bool]
"""Spoils an answer and returns True, or leaves it to be passed on as it is."""


class FaultProxy:
    """Passes requests on to ``host:port``; ``faults`` see each answer before the client does.

    ``before`` sees each request first, and may answer it in the registry's place.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.faults: list[Fault] = []
        self.before: list[Callable[[Handler], bool]] = []
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        proxy = self

        class Bound(Handler):
            owner = proxy

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: FaultProxy

    def do_GET(self) -> None:
        self._pass_on()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 (the base class's names)

    def handle(self) -> None:
        with suppress(ConnectionError, ValueError):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class's name)
        pass

    def _pass_on(self) -> None:
        owner = self.owner
        owner.seen.append((self.command, self.path, dict(self.headers)))
        if any(before(self) for before in owner.before):
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = self._ask(body)
        if not any(fault(self, answer) for fault in owner.faults):
            self.reply(answer.status, answer.headers, answer.body)

    def _ask(self, body: bytes) -> Answer:
        connection = http.client.HTTPConnection(self.owner.upstream, timeout=30)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            response = connection.getresponse()
            headers = {
                name: value
                for name, value in response.getheaders()
                if name.lower() not in ("connection", "transfer-encoding")
            }
            return Answer(response.status, headers, response.read())
        finally:
            connection.close()

    def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """Send a whole answer; a ``Content-Length`` in *headers* is sent as it is, right or wrong."""
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if not any(name.lower() == "content-length" for name in headers):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def reset(self) -> None:
        """Break the connection the hard way (RST), as a router that lost its tables does."""
        self.close_connection = True
        self.wfile.flush()
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()


# Faults, each a function of the answer. They spoil blobs only: manifests find the way there.


def is_blob(handler: Handler, answer: Answer) -> bool:
    return (
        handler.command == "GET"
        and "/blobs/sha256:" in handler.path
        and answer.status in (200, 206)
    )


def reset_halfway(handler: Handler, answer: Answer) -> bool:
    if not is_blob(handler, answer):
        return False
    handler.reply(answer.status, answer.headers, answer.body[: len(answer.body) // 2])
    handler.reset()
    return True


def cut_short(handler: Handler, answer: Answer) -> bool:
    """The body ends early, and the connection with it."""
    if not is_blob(handler, answer):
        return False
    handler.reply(answer.status, answer.headers, answer.body[:-7])
    handler.close_connection = True
    return True


def altered(handler: Handler, answer: Answer) -> bool:
    if not is_blob(handler, answer):
        return False
    body = bytearray(answer.body)
    body[len(body) // 2] ^= 0x40
    handler.reply(answer.status, answer.headers, bytes(body))
    return True


def longer(handler: Handler, answer: Answer) -> bool:
    """More bytes than the descriptor has, with a length that says so."""
    if not is_blob(handler, answer):
        return False
    headers = {k: v for k, v in answer.headers.items() if k.lower() != "content-length"}
    handler.reply(answer.status, headers, answer.body + b"more")
    return True


def shorter_length(handler: Handler, answer: Answer) -> bool:
    """A Content-Length that is too small for the body that follows."""
    if not is_blob(handler, answer):
        return False
    headers = {k: v for k, v in answer.headers.items() if k.lower() != "content-length"}
    headers["Content-Length"] = str(len(answer.body) - 5)
    handler.reply(answer.status, headers, answer.body)
    handler.close_connection = True
    return True


def stalling(handler: Handler, answer: Answer) -> bool:
    """A few bytes now and then."""
    if not is_blob(handler, answer):
        return False
    handler.reply(answer.status, answer.headers, b"")
    for at in range(40):
        handler.wfile.write(answer.body[at : at + 1])
        handler.wfile.flush()
        time.sleep(0.05)
    handler.close_connection = True
    return True


def status(code: int, **headers: str) -> Fault:
    def answer(handler: Handler, real: Answer) -> bool:
        if not is_blob(handler, real):
            return False
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.reply(code, named, b"{}")
        return True

    return answer


def garbage(handler: Handler, answer: Answer) -> bool:
    """What is no HTTP at all."""
    if not is_blob(handler, answer):
        return False
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.2p1\r\n")
    handler.close_connection = True
    return True


def times(count: int, fault: Fault) -> Fault:
    """*fault* for the first *count* answers that it applies to."""
    left = [count]
    lock = threading.Lock()

    def limited(handler: Handler, answer: Answer) -> bool:
        with lock:
            if not left[0] or not is_blob(handler, answer):
                return False
            left[0] -= 1
        return fault(handler, answer)

    return limited
