"""A client of QEMU's monitor protocol (QEMU's docs/interop/qmp-spec.rst): JSON lines on a unix socket."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from toolkit.errors import PinnaceError

_ANSWER_SECONDS = 30.0


class Silence(PinnaceError):
    """QEMU did not say in time what was waited for."""


class Monitor:
    """One connection to a running QEMU; a context manager.

    Raises :class:`PinnaceError` when QEMU refuses a command, is gone, or does not answer in time.
    """

    def __init__(
        self,
        path: Path,
        *,
        seconds: float = _ANSWER_SECONDS,
        alive: Callable[[], bool] = lambda: True,
    ) -> None:
        """Connect to the socket at ``path``; waits up to ``seconds`` for it and for each answer.

        ``alive`` tells whether there is still a QEMU to wait for.
        """
        self._path = path
        self._seconds = seconds
        self._buffer = b""
        self._events: list[dict[str, Any]] = []
        self._socket = connected(path, "monitor", seconds, alive)
        try:
            self._read_until(lambda message: "QMP" in message, seconds)
            self.execute("qmp_capabilities")
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def execute(self, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        """What QEMU returns for ``command``; its refusal is raised."""
        request = {"execute": command, **({"arguments": arguments} if arguments else {})}
        self._send(request)
        answer = self._read_until(lambda message: "event" not in message, self._seconds)
        if "error" in answer:
            raise PinnaceError(f"QEMU refused {command}: {answer['error'].get('desc', answer)}")
        return answer.get("return")

    def human(self, line: str) -> str:
        """What QEMU's human monitor prints for ``line``."""
        return str(self.execute("human-monitor-command", {"command-line": line}))

    def wait_for(self, event: str, seconds: float) -> dict[str, Any]:
        """The first ``event`` that came or comes within ``seconds``; earlier other ones are dropped."""
        while self._events:
            found = self._events.pop(0)
            if found["event"] == event:
                return found
        answer = self._read_until(lambda message: message.get("event") == event, seconds)
        self._events.clear()
        return answer

    def _send(self, request: Mapping[str, Any]) -> None:
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        except OSError as problem:
            raise self._gone() from problem

    def _read_until(
        self, wanted: Callable[[dict[str, Any]], bool], seconds: float
    ) -> dict[str, Any]:
        """The next message that is ``wanted``; events that come before it are kept."""
        deadline = time.monotonic() + seconds
        while True:
            message = self._read(deadline)
            if wanted(message):
                return message
            if "event" in message:
                self._events.append(message)

    def _read(self, deadline: float) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Silence(f"QEMU does not answer on {self._path}")
            self._socket.settimeout(min(left, 3600))
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                continue
            except OSError as problem:
                raise self._gone() from problem
            if not data:
                raise self._gone()
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        message = json.loads(line)
        assert isinstance(message, dict)
        return message

    def _gone(self) -> PinnaceError:
        return PinnaceError(f"QEMU ended, and its monitor {self._path} with it")


def connected(
    path: Path, what: str, seconds: float, alive: Callable[[], bool] = lambda: True
) -> socket.socket:
    """A connection to the socket ``path`` of a QEMU that may be about to start; ``what`` names it.

    Nothing is waited for once it is not ``alive``.
    """
    deadline = time.monotonic() + seconds
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            connection.connect(str(path))
        except OSError as problem:
            connection.close()
            if time.monotonic() > deadline or not alive():
                raise PinnaceError(f"QEMU has no {what} at {path}: {problem.strerror}") from None
            time.sleep(0.02)
        else:
            return connection
