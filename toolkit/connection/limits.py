"""How many connections go through a jump host at once, and which failures are worth another try.

sshd drops connections at random once ten are being authenticated (``MaxStartups``, sshd_config(5)); a
connection through a jump host takes one of its sessions for as long as it lasts.
"""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import TypeVar

import paramiko

from toolkit.errors import HostUnreachable

PER_JUMP_HOST = 8
"""Connections through one jump host at once; further ones wait."""
WAIT_SECONDS = 3600.0
"""How long a connection waits for others to end."""
_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 5.0

T = TypeVar("T")
_slots: dict[str, threading.BoundedSemaphore] = defaultdict(
    lambda: threading.BoundedSemaphore(PER_JUMP_HOST)
)
_making = threading.Lock()


class Slot:
    """One of a jump host's connections; no limit where ``jump`` is empty. Released once."""

    def __init__(self, jump: str) -> None:
        with _making:
            self._semaphore = _slots[jump] if jump else None
        self._jump = jump

    def take(self, name: str) -> None:
        """Wait for it; raises :class:`HostUnreachable` when the others take too long."""
        if self._semaphore is not None and not self._semaphore.acquire(timeout=WAIT_SECONDS):
            self._semaphore = None
            raise HostUnreachable(f"{name}: no connection through {self._jump} became free", hint="use a smaller --parallel")  # fmt: skip

    def release(self) -> None:
        semaphore, self._semaphore = self._semaphore, None
        if semaphore is not None:
            semaphore.release()


def retried(attempt: Callable[[], T], seconds: float) -> T:
    """What ``attempt`` gives; a connection that was dropped at once is tried again for ``seconds``.

    The pauses double, and differ from one connection to the next so that they do not come back together.
    """
    pause, deadline = _FIRST_PAUSE, time.monotonic() + seconds
    while True:
        started = time.monotonic()
        try:
            return attempt()
        except (paramiko.SSHException, EOFError, ConnectionResetError) as problem:
            quick = time.monotonic() - started < seconds / 2
            if not (quick and dropped(problem) and time.monotonic() + pause < deadline):
                raise
        time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - not a secret
        pause = min(pause * 2, _LONGEST_PAUSE)


def dropped(problem: BaseException) -> bool:
    """Whether the other side closed the connection before it said anything, as a busy sshd does."""
    if isinstance(problem, (EOFError, ConnectionResetError)):
        return True
    if isinstance(problem, paramiko.ChannelException):
        return problem.code == 2  # the jump host could not connect
    text = str(problem)
    return "protocol banner" in text or "Connection reset" in text or "Session is not active" in text  # fmt: skip
