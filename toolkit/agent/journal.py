"""What the agent remembers on the board: what it did, and which handlers it still owes.

A handler is owed from before the change that calls for it until after it ran, so that a run that is
cut off in between is finished by the next one. A run that changes nothing writes nothing: SD cards
wear out.
"""

from __future__ import annotations

import fcntl
import json
import os
import time

from toolkit.agent.errors import AgentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from toolkit.agent.system import System

DIRECTORY = "/var/lib/pinnace-agent"
_JOURNAL = DIRECTORY + "/journal.jsonl"
_OWED = DIRECTORY + "/owed.json"
_LOCK = "/run/pinnace-agent.lock"
_LOCK_SECONDS = 1.0
REBOOT = "reboot"
"""The handler that is owed until the board runs under another boot id."""
_LIMIT = 1 << 20
"""Bytes after which the journal starts anew; one older one is kept."""


class Journal:
    """The journal of one run; made once the run is known to be allowed."""

    def __init__(self, system: System, run: dict[str, Any]) -> None:
        self._system = system
        self._run = run
        self._begun = False

    def owed(self) -> list[str]:
        """Names of handlers that an earlier run did not get to."""
        names = [name for name in self._noted().get("handlers", ()) if isinstance(name, str)]
        return [name for name in names if not (name == REBOOT and self.rebooted)]

    @property
    def rebooted(self) -> bool:
        """Whether the board was started anew since handlers were owed."""
        return bool(self._noted().get("boot") != self._boot())

    def _noted(self) -> dict[str, Any]:
        try:
            found = json.loads(self._system.read(_OWED) or b"{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def owe(self, handlers: Iterable[str]) -> None:
        """Remember ``handlers`` (all that are owed now) across a crash."""
        names = list(handlers)
        if names != self.owed():
            self._system.make_directory(DIRECTORY, 0o700)
            owed = {"boot": self._boot(), "handlers": names}
            self._system.rewrite(_OWED, json.dumps(owed).encode(), 0o600)

    def _boot(self) -> str:
        """The kernel's id of this boot: a reboot that is owed was done when it is another."""
        return self._system.read_text("/proc/sys/kernel/random/boot_id").strip()

    def record(self, **entry: Any) -> None:
        """Append what was done."""
        path = self._system.path(_JOURNAL)
        self._system.make_directory(DIRECTORY, 0o700)
        if not self._begun:
            self._begun = True
            if os.path.exists(path) and os.path.getsize(path) > _LIMIT:
                os.rename(path, path + ".1")
            self.record(event="begin", **self._run)
        line = json.dumps({"at": round(time.time(), 3), **self._system.masked(entry)}) + "\n"
        with open(path, "a", encoding="utf-8", opener=_private) as file:
            file.write(line)

    def close(self) -> None:
        """Make the record durable."""
        if self._begun:
            self.record(event="end")
            with open(self._system.path(_JOURNAL), "rb") as file:
                os.fsync(file.fileno())


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def lock(system: System, who: str) -> int:
    """Keep other converges out until the returned descriptor is closed."""
    system.make_directory("/run")
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(system.path(_LOCK), flags, 0o600)
    if not _locked(fd):
        holder = os.pread(fd, 200, 0).decode("utf-8", "replace").strip() or "somebody"
        os.close(fd)
        raise AgentError(f"{holder} is provisioning this board right now", "wait for it to end") from None  # fmt: skip
    os.ftruncate(fd, 0)
    os.pwrite(fd, who.encode(), 0)
    return fd


def _locked(fd: int) -> bool:
    """Take the lock; the watcher of a change has it for a moment at a time."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
        time.sleep(0.05)
