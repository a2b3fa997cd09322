"""What the daemon needs of shims, and the real ones, which the keeper starts.

Keeper and shims speak length-prefixed JSON on unix sockets: a little-endian u32, then an object.
Requests to a shim have an ``id`` that its answer repeats; what comes without one is an event.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from pinnace import errors
from pinnace.linux import sockets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    OnEvent = Callable[[Mapping[str, Any]], None]

MAX_FRAME = 16 << 20
_START_SECONDS = 30.0
_AWAY_SECONDS = 10.0
"""How long a keeper may be away that was killed: systemd waits two seconds, Python starts in four on the smallest board."""
_PAUSE_SECONDS = 0.05
_ANSWER_SECONDS = 120.0
_LONGEST_SECONDS = 900.0
"""For ``create``, ``start`` and ``checkpoint``, in which hooks run and directories are copied."""


class Shim(Protocol):
    """A connection to a running shim."""

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask the shim; raises what it answers, Unavailable when it is gone.

        A shim that does not answer in time (somebody stopped it) is an error, too: DeadlineExceeded.
        """

    def close(self) -> None:
        """Let go; the shim goes on."""


class Shims(Protocol):
    """Starts shims and connects to them. Tests put their own in its place."""

    def start(self, namespace: str, identifier: str, bundle: str, state: str) -> str:
        """Start a shim for a bundle, its files below ``state``; the address of its socket."""

    def connect(self, address: str, on_event: OnEvent, on_close: Callable[[], None]) -> Shim:
        """Connect; both callbacks come from another thread. Raises Unavailable."""


class KeeperShims:
    """Shims forked by the keeper, or started cold when no keeper answers."""

    module = "pinnace.keeper.shim"
    """What is run for a cold start."""

    def __init__(self, keeper_address: str) -> None:
        self._keeper = keeper_address
        self._is_expected = True
        """Whether the keeper is worth waiting for: it is not after it did not come back."""
        # All that were asked for while it was away would else share the processors, and all be too late.
        self._cold = threading.BoundedSemaphore(os.cpu_count() or 1)

    def start(self, namespace: str, identifier: str, bundle: str, state: str) -> str:
        return self.launch(
            {"namespace": namespace, "id": identifier, "bundle": bundle, "state": state}
        )

    def launch(self, request: Mapping[str, str]) -> str:
        """Start a shim for a keeper's request; its address. Raises what went wrong."""
        try:
            return self._fork({"op": "shim", **request})
        except (OSError, errors.Unavailable, errors.ResourceExhausted):
            with self._cold:
                return self._spawn(request)

    def connect(self, address: str, on_event: OnEvent, on_close: Callable[[], None]) -> Shim:
        return Connection(address, on_event, on_close)

    def _fork(self, request: Mapping[str, str]) -> str:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
            sock.settimeout(_START_SECONDS)
            self._reach(sock)
            sock.sendall(_frame(request))
            answer = _read(sock)
        if answer is None:
            raise errors.Unavailable("the keeper closed the connection")
        if "error" in answer:
            raise _error(answer["error"])
        return str(answer["address"])

    def _reach(self, sock: socket.socket) -> None:
        """Connect to the keeper. One that was killed leaves its socket behind, and is waited for; one that was stopped does not."""
        until = time.monotonic() + _AWAY_SECONDS
        while True:
            try:
                sock.connect(self._keeper)
            except (ConnectionRefusedError, BlockingIOError):
                # Killed, or more wait than it has room for.
                if not self._is_expected or time.monotonic() >= until:
                    self._is_expected = False
                    raise
                time.sleep(_PAUSE_SECONDS)
            else:
                self._is_expected = True
                return

    def _spawn(self, request: Mapping[str, str]) -> str:
        """Start it cold: its program ends when it listens."""
        import subprocess

        words = [sys.executable, "-m", self.module]
        for name, value in request.items():
            words += [f"--{name}", value]
        try:
            done = subprocess.run(
                words, stdin=subprocess.DEVNULL, capture_output=True, timeout=_START_SECONDS, check=False,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise errors.DeadlineExceeded(
                f"the shim of {request['id']} did not start in time"
            ) from None
        except OSError as problem:
            raise errors.from_os(problem, f"start the shim of {request['id']}") from None
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines() or [
                "it said nothing"
            ]
            raise errors.Error(f"the shim of {request['id']} did not start: {said[-1]}")
        return done.stdout.decode("utf-8", "replace").strip()


class Connection:
    """A shim on a socket: one reader thread, any number of callers."""

    def __init__(self, address: str, on_event: OnEvent, on_close: Callable[[], None]) -> None:
        self._address = address
        self._on_event = on_event
        self._on_close = on_close
        self._changed = threading.Condition()
        self._answers: dict[int, Mapping[str, Any]] = {}
        self._waiting: set[int] = set()
        self._next = 0
        self._closed = False
        # For connecting and sending; nobody knows when the next event comes.
        self._socket = sockets.connect(address, int(_START_SECONDS))
        sockets.start_reader(self._socket, self._read_all, "shim")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        limit = _LONGEST_SECONDS if method in ("create", "start", "checkpoint") else _ANSWER_SECONDS
        deadline = time.monotonic() + limit
        with self._changed:
            self._next += 1
            number = self._next
            self._waiting.add(number)
            try:
                self._socket.sendall(_frame({"id": number, "method": method, **params}))
            except OSError:
                self._waiting.discard(number)
                raise errors.Unavailable(f"the shim at {self._address} is gone") from None
            while number not in self._answers and not self._closed:
                if not self._changed.wait(deadline - time.monotonic()):
                    break
            self._waiting.discard(number)
            answer = self._answers.pop(number, None)
            if answer is None and not self._closed:
                raise errors.DeadlineExceeded(
                    f"the shim at {self._address} did not answer to {method} in {limit:.0f} s"
                )
        if answer is None:
            raise errors.Unavailable(f"the shim at {self._address} is gone")
        if "error" in answer:
            raise _error(answer["error"])
        return dict(answer.get("result") or {})

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it was gone already

    def _read_all(self) -> None:
        try:
            while (frame := _read(self._socket)) is not None:
                self._take(frame)
        except (OSError, ValueError, errors.Error):
            pass  # a shim that talks nonsense is as good as gone
        with self._changed:
            ours, self._closed = self._closed, True
            self._changed.notify_all()
        self._socket.close()
        if not ours:
            self._on_close()

    def _take(self, frame: Mapping[str, Any]) -> None:
        number = frame.get("id")
        if number is None:
            self._on_event(frame)
            return
        with self._changed:
            if number in self._waiting:
                self._answers[number] = frame
                self._changed.notify_all()


def _frame(message: Mapping[str, Any]) -> bytes:
    body = json.dumps(message, separators=(",", ":")).encode()
    return struct.pack("<I", len(body)) + body


def _read(sock: socket.socket) -> dict[str, Any] | None:
    """The next frame, ``None`` at the end."""
    head = _exactly(sock, 4)
    if head is None:
        return None
    (size,) = struct.unpack("<I", head)
    if size > MAX_FRAME:
        raise errors.InvalidArgument(f"a frame of {size} bytes")
    body = _exactly(sock, size)
    if body is None:
        return None
    found = json.loads(body)
    if not isinstance(found, dict):
        raise errors.InvalidArgument("a frame that is no object")
    return found


def _exactly(sock: socket.socket, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            return None
        data += part
    return bytes(data)


def _error(answer: Mapping[str, Any]) -> errors.Error:
    kind = errors.BY_STATUS.get(int(answer.get("status") or 2), errors.Error)
    return kind(str(answer.get("message") or "the shim failed"))
