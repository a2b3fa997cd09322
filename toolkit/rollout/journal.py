"""What happened, on this machine's disk: a rollout that was cut off goes on from here.

A directory for each under ``$XDG_STATE_HOME/pinnace/rollouts``: ``rollout.json`` says what was asked
for, ``events.jsonl`` what happened, a line an event, each end on the disk before the next thing begins.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.errors import UsageError
from toolkit.paths import state_dir
from toolkit.report.events import Event, Status

KEPT = 50
"""Rollouts that are remembered."""
_GOOD = (Status.OK, Status.CHANGED)


class Journal:
    """An open journal; ``asked`` is what the command line said."""

    def __init__(self, path: Path, asked: Mapping[str, Any]) -> None:
        self.path = path
        self.asked = asked
        self._file = open(path / "events.jsonl", "a", encoding="utf-8")  # noqa: SIM115 - lives as long

    @property
    def id(self) -> str:
        return self.path.name

    def record(self, event: Event) -> None:
        """Write an event down; ends of hosts, and what is about all of them, are on the disk when this returns."""
        self._file.write(json.dumps(event.wire()) + "\n")
        self._file.flush()
        # Who is not known to have ended has its turn (again), begun or not.
        if not event.host or (event.status is not None and event.status.ended):
            os.fdatasync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def begin(asked: Mapping[str, Any]) -> Journal:
    """A new journal, named by the time; the oldest beyond :data:`KEPT` are removed."""
    home = state_dir("rollouts")
    for number in range(100):
        name = time.strftime("%Y%m%d-%H%M%S") + (f"-{number}" if number else "")
        try:
            (home / name).mkdir(mode=0o700)
            break
        except FileExistsError:
            continue
    text = json.dumps(dict(asked), indent=2)
    (home / name / "rollout.json").write_text(text + "\n")
    for old in sorted(path for path in home.iterdir() if path.is_dir())[:-KEPT]:
        for file in old.iterdir():
            file.unlink()
        old.rmdir()
    return Journal(home / name, dict(asked))


def find(name: str = "") -> Journal:
    """The rollout ``name``, by default the latest; raises :class:`UsageError`."""
    home = state_dir("rollouts")
    known = sorted(path.name for path in home.iterdir() if (path / "rollout.json").exists())
    if not known:
        raise UsageError("there is no rollout to go on with", hint="start one: ./inv rollout --limit GROUP")  # fmt: skip
    chosen = name or known[-1]
    if chosen not in known:
        raise UsageError(f"no rollout {name!r}", hint=f"the latest are {', '.join(known[-5:])}")
    asked = json.loads((home / chosen / "rollout.json").read_text())
    return Journal(home / chosen, asked)


def events(journal: Journal) -> list[Event]:
    """What was written down. A last line that a power cut left half written does not count."""
    found = []
    for line in (journal.path / "events.jsonl").read_text(encoding="utf-8").splitlines():
        try:
            found.append(Event.read(json.loads(line)))
        except (ValueError, KeyError):
            continue
    return found


def ends(journal: Journal) -> dict[str, Status]:
    """The last status of every host that the journal knows."""
    return {event.host: event.status for event in events(journal) if event.status is not None}


def done(journal: Journal) -> dict[str, Status]:
    """Hosts that need nothing any more; all others have their turn (again) when it is resumed."""
    return {host: status for host, status in ends(journal).items() if status in _GOOD}


def runs(journal: Journal) -> dict[str, str]:
    """The ids that hosts know their latest run by, where one ended well."""
    return {event.host: event.data["run"] for event in events(journal) if event.data.get("run")}
