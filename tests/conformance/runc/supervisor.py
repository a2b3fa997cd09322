"""A seccomp supervisor: takes a container's listener over a socket and answers every call it is asked about."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import socket
import struct
import threading
from pathlib import Path
from typing import Any

_RECEIVE, _SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND
_NOTIFICATION = struct.Struct("=QIIiIQ6Q")  # id, pid, flags, then struct seccomp_data
_RESPONSE = struct.Struct("=QqiI")
_CONTINUE = 1


class Supervisor:
    """Refuses system calls ``refused`` (by number) with EXDEV and lets others go on."""

    def __init__(self, path: Path, refused: set[int]) -> None:
        self.path = str(path)
        self.states: list[dict[str, Any]] = []  # what came with each listener
        self.calls: list[int] = []  # numbers of the calls asked about
        self._refused = refused
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(self.path)
        self._server.listen()
        self._wake, self._end = os.pipe()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        os.write(self._end, b".")
        self._thread.join(10)
        self._server.close()
        os.close(self._wake)
        os.close(self._end)

    def _serve(self) -> None:
        listeners: list[int] = []
        poll = select.poll()
        poll.register(self._server, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while True:
            for fd, event in poll.poll():
                if fd == self._wake:
                    for each in listeners:
                        os.close(each)
                    return
                if fd == self._server.fileno():
                    listeners.append(self._accept())
                    poll.register(listeners[-1], select.POLLIN)
                elif event & select.POLLIN:
                    self._answer(fd)
                else:
                    poll.unregister(fd)  # the last process with this filter ended

    def _accept(self) -> int:
        connection, _ = self._server.accept()
        with connection:
            content, fds, _, _ = socket.recv_fds(connection, 1 << 20, 1)
            while more := connection.recv(1 << 20):
                content += more
        self.states.append(json.loads(content))
        return fds[0]

    def _answer(self, listener: int) -> None:
        asked = bytearray(_NOTIFICATION.size)
        try:
            fcntl.ioctl(listener, _RECEIVE, asked)
            identifier, _, _, number, *_ = _NOTIFICATION.unpack(asked)
            self.calls.append(number)
            refused = number in self._refused
            answer = (identifier, 0, -errno.EXDEV, 0) if refused else (identifier, 0, 0, _CONTINUE)
            fcntl.ioctl(listener, _SEND, bytearray(_RESPONSE.pack(*answer)))
        except FileNotFoundError:
            pass  # the asking process was killed meanwhile
