"""A small event loop: descriptors and the callbacks for them, and ended children.

Single-threaded, because its users fork. asyncio would do it too and costs 40 ms and 11 MB.
"""

from __future__ import annotations

import os
import select
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

READ = select.POLLIN
WRITE = select.POLLOUT


class Loop:
    """Waits for descriptors and children until it is told to stop."""

    def __init__(self, on_child: Callable[[int, int], None]) -> None:
        """``on_child`` gets the pid and the wait status of each child that has ended."""
        self._on_child = on_child
        self._poll = select.poll()
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._running = True
        self._alarm: tuple[float, Callable[[], None]] | None = None
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        # The handler does nothing; the byte that Python writes for the signal wakes poll().
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self.watch(self._wake_read, READ, self._woken)

    def watch(self, fd: int, events: int, callback: Callable[[int], None]) -> None:
        """Call ``callback(events)`` when one of ``events`` (or an error) is there on ``fd``."""
        self._callbacks[fd] = callback
        self._poll.register(fd, events)

    def change(self, fd: int, events: int) -> None:
        """Wait for other events; 0 for none but errors."""
        if fd in self._callbacks:
            self._poll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Stop watching; before the descriptor is closed."""
        if self._callbacks.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def alarm(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call ``callback`` once, that much later; there is one alarm, the last one set."""
        self._alarm = (time.monotonic() + seconds, callback)

    def stop(self) -> None:
        self._running = False

    def run(self) -> None:
        """Serve until :meth:`stop`."""
        self.reap()
        while self._running:
            for fd, events in self._poll.poll(self._patience()):
                # A callback before this one may have ended the connection of this one.
                callback = self._callbacks.get(fd)
                if callback is not None:
                    callback(events)
            self._ring()

    def _patience(self) -> float | None:
        """Milliseconds until the alarm; ``None`` without one."""
        if self._alarm is None:
            return None
        return max(0.0, self._alarm[0] - time.monotonic()) * 1000

    def _ring(self) -> None:
        if self._alarm is not None and self._alarm[0] <= time.monotonic():
            callback, self._alarm = self._alarm[1], None
            callback()

    def reap(self) -> None:
        """Take the statuses of all children that have ended by now."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._on_child(pid, status)

    def _woken(self, _: int) -> None:
        try:
            while os.read(self._wake_read, 512):
                pass
        except BlockingIOError:
            self.reap()
