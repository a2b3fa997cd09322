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
KEPT_FREE = 2
"""How many of them only urgent connections take: a board waits a minute at most to hear that a change is well."""
WAIT_SECONDS = 3600.0
"""How long a connection waits for others to end."""
_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 5.0

T = TypeVar("T")


class _JumpHost:
    """How many connections go through one host, and who waits; guarded by ``changed``."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.used = 0
        self.urgent_waiting = 0

    def free(self, *, urgent: bool) -> bool:
        if urgent:
            return self.used < PER_JUMP_HOST
        return self.used < PER_JUMP_HOST - KEPT_FREE and not self.urgent_waiting


_hosts: dict[str, _JumpHost] = defaultdict(_JumpHost)
_making = threading.Lock()


class Slot:
    """One of a jump host's connections; no limit where ``jump`` is empty. May be released twice.

    ``urgent``: goes before others that wait, and takes what is kept free.
    """

    def __init__(self, jump: str, *, urgent: bool = False) -> None:
        with _making:
            self._host = _hosts[jump] if jump else None
        self._jump = jump
        self._urgent = urgent
        self._taken = False

    def take(self, name: str) -> None:
        """Wait for it; raises :class:`HostUnreachable` when the others take too long."""
        host = self._host
        if host is None:
            return
        with host.changed:
            host.urgent_waiting += self._urgent
            try:
                self._taken = host.changed.wait_for(lambda: host.free(urgent=self._urgent), WAIT_SECONDS)  # fmt: skip
            finally:
                host.urgent_waiting -= self._urgent
                host.changed.notify_all()
            host.used += self._taken
        if not self._taken:
            raise HostUnreachable(f"{name}: no connection through {self._jump} became free", hint="use a smaller --parallel")  # fmt: skip

    def release(self) -> None:
        if self._host is not None and self._taken:
            self._taken = False
            with self._host.changed:
                self._host.used -= 1
                self._host.changed.notify_all()


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
