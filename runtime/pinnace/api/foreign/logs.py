"""What foreign shims log: each writes to the FIFO ``log`` of its bundle, which must have a reader before it starts."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pinnace.daemon.log import Log
    from pinnace.daemon.task import Task

_MOST = 64 << 10


class Logs:
    """One thread reads all of them, from the first on."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._open: dict[int, str] = {}
        self._names: dict[str, int] = {}
        self._poll = select.epoll()
        self._thread: threading.Thread | None = None

    def follow(self, task: Task) -> None:
        """Pass on what the shim of a task logs; made, if it is not there. Raises OSError."""
        name = f"{task.namespace}/{task.id}"
        path = os.path.join(task.bundle, "log")
        with self._lock:
            if name in self._names:
                return
            with contextlib.suppress(FileExistsError):
                os.mkfifo(path, 0o600)
            # For writing as well: an end of file each time a shim lets go would be read for ever.
            fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._read_all, name="shim-logs", daemon=True
                )
                self._thread.start()
            self._open[fd] = name
            self._names[name] = fd
            self._poll.register(fd, select.EPOLLIN)

    def leave(self, task: Task) -> None:
        """Say what is left of a shim's log, and stop; nothing happens when it is not followed."""
        name = f"{task.namespace}/{task.id}"
        with self._lock:
            fd = self._names.pop(name, None)
            if fd is None:
                return
            self._say(fd, name)
            del self._open[fd]
            self._poll.unregister(fd)
            os.close(fd)

    def _read_all(self) -> None:
        while True:
            ready = self._poll.poll()
            with self._lock:
                for fd, _ in ready:
                    if fd in self._open:
                        self._say(fd, self._open[fd])

    def _say(self, fd: int, name: str) -> None:
        with contextlib.suppress(OSError):
            text = os.read(fd, _MOST).decode("utf-8", "replace")
            for line in text.splitlines():
                self._log.info(f"shim of {name}: {line.strip()}")
