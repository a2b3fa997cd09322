"""A connection to a message bus, or to systemd's own socket: signing in, calls, signals."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from pinnace.errors import DeadlineExceeded, FailedPrecondition, Unavailable
from pinnace.linux.dbus import wire
from pinnace.linux.dbus.wire import Message, WireError

_BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
_ESCAPE = re.compile("%([0-9A-Fa-f]{2})")
_LINE = 512  # bytes of a line while signing in
_SECONDS = 25.0
"""How long an answer may take; the reference implementation's limit."""


class DBusError(FailedPrecondition):
    """What the other side answered; ``name`` is the error's, as ``org.freedesktop.systemd1.UnitExists``."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message or name)
        self.name = name


class Connection:
    """Use as a context. Every wait has a limit; raises Unavailable when the other side is gone."""

    def __init__(self, path: str, *, is_bus: bool = True) -> None:
        """Connect to the socket at ``path``; without ``is_bus`` it is a service's own, not a bus.

        Raises Unavailable.
        """
        self._serial = 0
        self._signals: list[Message] = []
        self.path = path
        self.is_bus = is_bus
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.socket.settimeout(_SECONDS)
        try:
            self.socket.connect(path)
            self._sign_in()
            if is_bus:
                self.call(*_BUS, "Hello")
        except OSError as problem:
            self.socket.close()
            raise Unavailable(f"D-Bus at {path}: {problem.strerror or problem}") from None
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:  # fmt: skip
        self.socket.close()

    def _sign_in(self) -> None:
        """SASL's EXTERNAL: we are who the kernel says ("Authentication Protocol")."""
        user = str(os.geteuid()).encode().hex().encode()
        self.socket.sendall(b"\0AUTH EXTERNAL " + user + b"\r\n")
        line = bytearray()
        while not line.endswith(b"\r\n"):
            part = self.socket.recv(1)
            if not part or len(line) > _LINE:
                raise Unavailable(f"D-Bus at {self.path} ended while signing in")
            line += part
        if not line.startswith(b"OK "):
            raise Unavailable(f"D-Bus at {self.path} refuses user {os.geteuid()}")
        self.socket.sendall(b"BEGIN\r\n")

    def call(
        self, destination: str, path: str, interface: str, member: str, signature: str = "",
        *values: Any, seconds: float = _SECONDS,
    ) -> list[Any]:  # fmt: skip
        """Call a method; what it returns. Raises DBusError, DeadlineExceeded, Unavailable."""
        fields = {
            "path": path,
            "interface": interface,
            "member": member,
            "destination": destination,
            "signature": signature,
        }
        serial = self.send(Message(wire.CALL, 0, fields, list(values)))
        deadline = time.monotonic() + seconds
        while True:
            message = self._receive(deadline, member)
            if message.fields.get("reply_serial") == serial:
                break
            if message.kind == wire.SIGNAL:
                self._signals.append(message)
        if message.kind == wire.ERROR:
            text = message.body[0] if message.body and isinstance(message.body[0], str) else ""
            raise DBusError(str(message.fields.get("error_name")), text)
        return message.body

    def send(self, message: Message) -> int:
        """Send a message under a new serial number, which it gives. Raises Unavailable."""
        self._serial += 1
        message.serial = self._serial
        try:
            self.socket.sendall(message.encode())
        except OSError as problem:
            raise Unavailable(f"D-Bus at {self.path}: {problem.strerror}") from None
        return self._serial

    def watch(self, rule: str) -> None:
        """Ask a bus for signals ("Match Rules")."""
        self.call(*_BUS, "AddMatch", "s", rule)

    def signal(self, matches: Callable[[Message], bool], seconds: float) -> Message:
        """The first signal that ``matches``, also of those that came while an answer was waited for.

        Raises DeadlineExceeded, Unavailable.
        """
        deadline = time.monotonic() + seconds
        while True:
            for index, message in enumerate(self._signals):
                if matches(message):
                    return self._signals.pop(index)
            found = self._receive(deadline, "a signal")
            if found.kind == wire.SIGNAL:
                self._signals.append(found)

    def _receive(self, deadline: float, what: str) -> Message:
        try:
            start = self._read(wire.FIXED, deadline)
            return wire.decode(start + self._read(wire.length(start) - wire.FIXED, deadline))
        except TimeoutError:
            raise DeadlineExceeded(f"D-Bus at {self.path}: no answer to {what}") from None
        except (WireError, OSError) as problem:
            raise Unavailable(f"D-Bus at {self.path}: {problem}") from None

    def _read(self, size: int, deadline: float) -> bytes:
        data = bytearray()
        while len(data) < size:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self.socket.settimeout(left)
            part = self.socket.recv(size - len(data))
            if not part:
                raise Unavailable(f"D-Bus at {self.path} closed the connection")
            data += part
        return bytes(data)


def socket_path(address: str) -> str:
    """The unix socket of a server address (``unix:path=/run/bus``), empty for others."""
    for each in address.split(";"):
        kind, _, rest = each.partition(":")
        options = dict(item.partition("=")[::2] for item in rest.split(","))
        if kind == "unix" and options.get("path"):
            return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), options["path"])
    return ""
