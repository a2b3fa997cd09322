"""A connection of a shim's: requests come in, answers and events go out, and no peer holds the shim up."""

from __future__ import annotations

import socket
from typing import Any

from pinnace.keeper.loop import READ, WRITE, Loop
from pinnace.keeper.protocol import MAX_FRAME, Receiver, pack

_MAX_UNSENT = 2 * MAX_FRAME


class Connection:
    """A daemon, most likely."""

    __slots__ = ("_loop", "_unsent", "receiver", "sock", "subscribed")

    def __init__(self, sock: socket.socket, loop: Loop) -> None:
        self._loop = loop
        self._unsent = bytearray()
        self.sock = sock
        self.receiver = Receiver(sock)
        self.subscribed = False

    @property
    def is_busy(self) -> bool:
        """Whether a request or an answer is half through."""
        return bool(self._unsent or self.receiver.is_busy)

    def receive(self) -> tuple[list[Any], bool]:
        """The requests that are here now, and whether the peer has hung up. Raises InvalidArgument for nonsense."""
        return self.receiver.receive()

    def close(self) -> None:
        self.receiver.close_fds()
        self.sock.close()

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; see :meth:`push`."""
        self.push(pack(message))

    def push(self, data: bytes) -> None:
        """Send as much as fits and the rest later; a frame is never left half sent.

        A container decides how long some answers are (its processes), and a peer when it reads.
        One that is gone gets nothing, one that reads nothing at all is cut off: both ask for the
        state when they are back.
        """
        self._unsent += data
        self.flush()
        if len(self._unsent) > _MAX_UNSENT:
            try:
                self.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # gone already; the loop sees that and closes

    def flush(self) -> None:
        """Send what the socket takes now, and have the loop say when it takes more."""
        try:
            while self._unsent:
                del self._unsent[: self.sock.send(self._unsent)]
        except BlockingIOError:
            self._loop.change(self.sock.fileno(), READ | WRITE)
        except OSError:
            self._unsent.clear()
        if not self._unsent:
            self._loop.change(self.sock.fileno(), READ)
