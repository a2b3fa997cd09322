"""The line between a creator and the process it makes: JSON records, descriptors beside them."""

from __future__ import annotations

import json
import os
import socket
from typing import Any

from pinnace.errors import BY_STATUS, Error, described

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

    def receive(self) -> tuple[dict[str, Any] | None, list[int]]:
        """The next record and its descriptors; None when the other end was closed."""
        content, fds, _, _ = socket.recv_fds(self.socket, _LIMIT, 4)
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
        raise BY_STATUS.get(int(record.get("status", 2)), Error)(str(record["error"]))
    if key not in record:
        raise Error(f"the container process sent {sorted(record)} instead of {key}")
    return record


def error_record(problem: BaseException) -> dict[str, Any]:
    """An exception as the record that ``verified`` raises on the other side."""
    error = described(problem)
    return {"error": str(error)[:4096], "status": error.grpc_status}
