"""A registry in the test's process that misbehaves on demand: the faults of issue trackers, one flag each."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit

from tests.images import TestImage


class FakeRegistry:
    """Serves one image as ``library/x:1``; ``faults`` see each request before the normal answer.

    A fault is called with the handler and the path; it answers and returns True, or returns False.
    """

    def __init__(self, image: TestImage, address: str = "127.0.0.1") -> None:
        self.image = image
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.faults: list[Callable[[Handler, str], bool]] = []
        registry = self

        class Bound(Handler):
            owner = registry

        class Server(http.server.ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in address else socket.AF_INET

        self._address = address
        self._server = Server((address, 0), Bound)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def host(self) -> str:
        shown = f"[{self._address}]" if ":" in self._address else self._address
        return f"{shown}:{self._server.server_port}"

    @property
    def reference(self) -> str:
        return f"{self.host}/library/x:1"

    def __enter__(self) -> FakeRegistry:
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

    def once(self, fault: Callable[[Handler, str], bool]) -> None:
        """Let *fault* happen until it has answered one request."""
        done = threading.Event()

        def run(handler: Handler, path: str) -> bool:
            if done.is_set():
                return False
            answered = fault(handler, path)
            if answered:
                done.set()
            return answered

        self.faults.append(run)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: FakeRegistry

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def handle(self) -> None:
        with suppress(ConnectionError):  # a client that had enough is what some tests are about
            super().handle()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class's name)
        pass

    def _answer(self) -> None:
        owner = self.owner
        path = urlsplit(self.path).path
        owner.requests.append((self.command, self.path, dict(self.headers)))
        if any(fault(self, path) for fault in owner.faults):
            return
        digest = path.rpartition("/")[2]
        if path == "/v2/library/x/manifests/1":
            digest = str(owner.image.root.digest)
        for descriptor, data in owner.image.blobs:
            if descriptor.digest == digest:
                self.content(data, descriptor.media_type, str(descriptor.digest))
                return
        self.reply(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}')

    def content(self, data: bytes, media_type: str, digest: str) -> None:
        """A good answer, of a range if one was asked for."""
        start = 0
        if self.headers.get("Range"):
            start = int(self.headers["Range"].removeprefix("bytes=").partition("-")[0])
        headers = {"Docker-Content-Digest": digest, "Content-Type": media_type}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self.reply(206 if start else 200, data[start:], headers)

    def reply(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> bool:
        """Send a whole answer; True, for faults that are one expression."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if "Content-Length" not in (headers or {}):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        return True

    def hang_up(self) -> None:
        """Close the connection without a word more."""
        self.close_connection = True
        self.wfile.flush()
