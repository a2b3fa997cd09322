"""A seccomp supervisor: takes a container's listener over a socket and answers every call it is asked about."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
from typing import Any

_RECEIVE, _SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND
_NOTIFICATION = struct.Struct("=QIIiIQ6Q")  # id, pid, flags, then struct seccomp_data
_RESPONSE = struct.Struct("=QqiI")
_CONTINUE = 1


class Supervisor:
    """A process that refuses system calls ``refused`` (by number) with EXDEV and lets others go on.

    No thread: the runtime forks, and its child would have locks that a thread held.
    """

    def __init__(self, path: str, refused: set[int]) -> None:
        self.path = path
        self._log = f"{path}.log"
        self._refused = refused
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
            server.bind(self.path)
            server.listen()
            self._pid = os.fork()
            if self._pid == 0:
                try:
                    self._serve(server)
                finally:
                    os._exit(1)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    @property
    def states(self) -> list[dict[str, Any]]:
        """What came with each listener."""
        return [record for record in self._records() if isinstance(record, dict)]

    @property
    def calls(self) -> list[int]:
        """Numbers of the calls that were asked about."""
        return [record for record in self._records() if isinstance(record, int)]

    def _records(self) -> list[Any]:
        try:
            with open(self._log, encoding="utf-8") as file:
                return [json.loads(line) for line in file]
        except FileNotFoundError:
            return []

    def _note(self, record: Any) -> None:
        with open(self._log, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def _serve(self, server: socket.socket) -> None:
        poll = select.poll()
        poll.register(server, select.POLLIN)
        while True:
            for fd, event in poll.poll():
                if fd == server.fileno():
                    poll.register(self._accept(server), select.POLLIN)
                elif event & select.POLLIN:
                    self._answer(fd)
                else:
                    poll.unregister(fd)  # the last process with this filter ended

    def _accept(self, server: socket.socket) -> int:
        connection, _ = server.accept()
        with connection:
            content, fds, _, _ = socket.recv_fds(connection, 1 << 20, 1)
            while more := connection.recv(1 << 20):
                content += more
        self._note(json.loads(content))
        return fds[0]

    def _answer(self, listener: int) -> None:
        asked = bytearray(_NOTIFICATION.size)
        try:
            fcntl.ioctl(listener, _RECEIVE, asked)
            identifier, _, _, number, *_ = _NOTIFICATION.unpack(asked)
            self._note(number)
            refused = number in self._refused
            answer = (identifier, 0, -errno.EXDEV, 0) if refused else (identifier, 0, 0, _CONTINUE)
            fcntl.ioctl(listener, _SEND, bytearray(_RESPONSE.pack(*answer)))
        except FileNotFoundError:
            pass  # the asking process was killed meanwhile
