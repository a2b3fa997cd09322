"""The line between a creator and the process it makes: JSON records, descriptors beside them."""

from __future__ import annotations

import json
import os
import socket
from typing import Any

from pinnace.errors import BY_STATUS, Error, described
from pinnace.runc import executable

PLAIN, WORDS, LOOKED_UP, EXECUTED = range(4)
"""How the native init has an error worded: the kernel's text, the text as Go writes it, the same of stat(2), of execve(2)."""

_LIMIT = 64 << 10  # bytes of one record; error messages are cut far below it


class Channel:
    """One end of a SOCK_SEQPACKET pair: a record per message, in order, or the end."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Two connected ends."""
        first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(first), cls(second)

    def send(self, record: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
        """Send a record, with copies of ``fds``."""
        socket.send_fds(self.socket, [json.dumps(record).encode()], list(fds))

    def tell(self, record: dict[str, Any], fds: tuple[int, ...] = ()) -> bool:
        """The same for who may have ended by now, and whether it had not: what it said before is still to be received."""
        try:
            self.send(record, fds)
        except ConnectionError:
            return False
        return True

    def receive(self) -> tuple[dict[str, Any] | None, list[int]]:
        """The next record and its descriptors; None when the other end was closed.

        Raises ConnectionResetError when that had not taken by then what was sent to it, once there are no more records.
        """
        try:
            content, fds, _, _ = socket.recv_fds(self.socket, _LIMIT, 4)
        except ConnectionResetError:  # comes before what was said, and once
            content, fds, _, _ = socket.recv_fds(self.socket, _LIMIT, 4)
            if not content:
                raise
        for fd in fds:
            os.set_inheritable(fd, False)
        return (json.loads(content) if content else None), fds

    def expect(self, key: str) -> dict[str, Any]:
        """The next record, which has ``key``. Raises the error that the other side reports."""
        record, fds = self.receive()
        for fd in fds:
            os.close(fd)
        return verified(record, key)

    def close(self) -> None:
        """Close this end; the other one reads the end."""
        self.socket.close()


def verified(record: dict[str, Any] | None, key: str) -> dict[str, Any]:
    """``record`` if it has ``key``; else the error it reports, raised."""
    if record is None:
        raise Error("the container process ended before it was ready")
    if "error" in record:
        raise _problem(record)
    if key not in record:
        raise Error(f"the container process sent {sorted(record)} instead of {key}")
    return record


def _problem(record: dict[str, Any]) -> Error:
    """The error that a record tells. The native init gives the kernel's number, and the words are put to it here."""
    text, number = str(record["error"]), int(record.get("errno") or 0)
    call, style = str(record.get("call") or ""), record.get("style")
    if number and call == "seccomp":
        from pinnace.linux.seccomp import loading

        return loading.refusal(number)
    if number and style == PLAIN:
        text += f"{call}{': ' * bool(call)}{os.strerror(number)}"
    elif number:
        text += {LOOKED_UP: f"stat {call}: ", EXECUTED: f"exec {call}: "}.get(int(style or 0), "")
        text += executable.words(number)
    return BY_STATUS.get(int(record.get("status", 2)), Error)(text)


def error_record(problem: BaseException) -> dict[str, Any]:
    """An exception as the record that ``verified`` raises on the other side."""
    error = described(problem)
    return {"error": str(error)[:4096], "status": error.grpc_status}
