"""What was done from this machine: one file of JSON lines per run, in the state directory.

A line is written as soon as something happened, so that a run that was killed is told too. Contents and
diffs of files are not written; who may read the file is its owner alone.
"""

from __future__ import annotations

import fcntl
import getpass
import itertools
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from toolkit.errors import UsageError
from toolkit.paths import give_to_user, state_dir
from toolkit.secrets.mask import without_secrets

KEPT = 500
"""Runs that stay."""


def by() -> str:
    """Who runs this, and where, as boards and journals are told."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


class Recorder(Protocol):
    """What happens on hosts is noted down there."""

    def record(self, event: str, **content: Any) -> None:
        """Add a line; ``host`` says whose it is."""


class RunJournal:
    """The journal of one run; its file is made with the first line, and threads may share it."""

    def __init__(self, command: str, by: str, **options: Any) -> None:
        self.id = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{uuid.uuid4().hex[:6]}"
        self._begin = {"event": "begin", "command": command, "by": by, **options}
        self._lock = threading.Lock()
        self._fd = -1

    def record(self, event: str, **content: Any) -> None:
        """Add a line; ``host`` says whose it is."""
        with self._lock:
            if self._fd < 0:
                self._fd = self._open()
                self._write(self._begin)
            self._write({"event": event, **content})

    def close(self, status: int) -> None:
        """The run has ended with this exit status; the file is durable."""
        self.record("end", status=status)
        os.fsync(self._fd)
        os.close(self._fd)
        self._fd = -1
        _prune()

    def _open(self) -> int:
        path = state_dir("runs") / f"{self.id}.jsonl"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)  # for as long as the run lives
        give_to_user(path)
        return fd

    def _write(self, content: Mapping[str, Any]) -> None:
        said = {name: without_secrets(value) for name, value in content.items()}
        line = json.dumps({"at": round(time.time(), 3), **said}) + "\n"
        os.write(self._fd, line.encode())


def _prune() -> None:
    for path in sorted(state_dir("runs").glob("*.jsonl"))[:-KEPT]:
        path.unlink(missing_ok=True)


@dataclass
class Run:
    """One run as its journal tells it.

    Attributes:
        at: seconds since 1970.
        hosts: how each ended: counts by status, or ``failed`` and ``unreachable`` with the reason.
        status: exit status; ``None`` for a run that was cut off or still goes on.
        going: it still goes on.
    """

    id: str
    at: float
    command: str
    by: str
    events: Sequence[Mapping[str, Any]]
    hosts: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    status: int | None = None
    going: bool = False


def runs() -> Iterator[Run]:
    """All runs, newest first."""
    for path in sorted(state_dir("runs").glob("*.jsonl"), reverse=True):
        run = _read(path)
        if run is not None:
            yield run


def find(name: str) -> Run:
    """The run whose id begins with ``name``, or the ``latest``; raises :class:`UsageError`."""
    if name == "latest":
        found = list(itertools.islice(runs(), 1))
    else:
        found = [run for run in runs() if run.id.startswith(name)]
    if len(found) != 1:
        problem = "no run" if not found else f"{len(found)} runs begin with"
        raise UsageError(f"{problem} {name!r}", hint="./inv history lists them")
    return found[0]


def _read(path: Path) -> Run | None:
    events = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:
            break  # cut off while it was written
    if not events or events[0].get("event") != "begin":
        return None
    begin = events[0]
    run = Run(path.stem, begin["at"], begin["command"], begin["by"], events)
    for event in events:
        if event["event"] == "host":
            run.hosts[event["host"]] = event["ended"]
        elif event["event"] == "end":
            run.status = event["status"]
    run.going = run.status is None and _held(path)
    return run


def _held(path: Path) -> bool:
    """Whether the process that writes it lives."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
