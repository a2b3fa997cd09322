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
        self._traffic: set[int] = set()
        self._running = True
        self._alarms: list[tuple[float, Callable[[], None]]] = []
        self._quiet: tuple[float, Callable[[], None]] | None = None
        self._last = 0.0
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        # The handler does nothing; the byte that Python writes for the signal wakes poll().
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self.watch(self._wake_read, READ, self._woken)

    def watch(
        self, fd: int, events: int, callback: Callable[[int], None], *, is_traffic: bool = False
    ) -> None:
        """Call ``callback(events)`` when one of ``events`` (or an error) is there on ``fd``.

        Traffic does not count as something happening: see :meth:`quiet`.
        """
        self._callbacks[fd] = callback
        (self._traffic.add if is_traffic else self._traffic.discard)(fd)
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
        """Call ``callback`` once, that much later; one that is set for it already is set anew."""
        self._alarms = [each for each in self._alarms if each[1] != callback]
        self._alarms.append((time.monotonic() + seconds, callback))

    def quiet(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever nothing but traffic has happened for that long; never with 0."""
        self._quiet = (seconds, callback) if seconds else None
        self._last = time.monotonic()

    def stop(self) -> None:
        self._running = False

    def close(self) -> None:
        """Let go of signals and descriptors, but for those that are watched: they are others'."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for fd in (self._wake_read, self._wake_write):
            os.close(fd)

    def run(self) -> None:
        """Serve until :meth:`stop`."""
        self.reap()
        while self._running:
            ready = self._poll.poll(self._patience())
            for fd, events in ready:
                # A callback before this one may have ended the connection of this one.
                callback = self._callbacks.get(fd)
                if callback is not None:
                    callback(events)
            self._look_around([fd for fd, _ in ready])
            self._ring()

    def _look_around(self, served: list[int]) -> None:
        """Note when something happened last; call whom :meth:`quiet` names."""
        if self._quiet is None:
            return
        seconds, callback = self._quiet
        now = time.monotonic()
        if any(fd not in self._traffic for fd in served):
            self._last = now
        elif now - self._last >= seconds:
            self._last = now
            callback()

    def _patience(self) -> float | None:
        """Milliseconds until the next alarm or until it has been quiet, what is first; ``None`` without either."""
        now = time.monotonic()
        waits = [] if self._quiet is None else [self._last + self._quiet[0] - now]
        waits += [when - now for when, _ in self._alarms]
        return max(0.0, min(waits) * 1000) if waits else None

    def _ring(self) -> None:
        now = time.monotonic()
        for each in [each for each in self._alarms if each[0] <= now]:
            self._alarms.remove(each)
            each[1]()

    def take_signals(self, taken: bool) -> None:
        """Whether SIGCHLD comes to this process now, or waits for one that it becomes."""
        how = signal.SIG_UNBLOCK if taken else signal.SIG_BLOCK
        signal.pthread_sigmask(how, (signal.SIGCHLD,))

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
