"""What was there before a run changed it, so that it can be put back.

Each path is noted down once, before it is first changed: its contents, link target, mode and owner, or
that nothing was there. Notes are on the disk before the change is. Files that a program writes for itself
(accounts, packages) are not noted and stay as they are.

    /var/lib/pinnace-agent/undo/<number>-<run>/log.jsonl    a line for each path, unit and command

What lies in a user's directory is looked at and put back with that user's rights: a link that the user
laid there leads nowhere that the user could not go alone.
"""

from __future__ import annotations

import base64
import json
import os
import stat

from toolkit.agent.errors import AgentError, from_os
from toolkit.agent.journal import DIRECTORY
from toolkit.agent.system import sync_directory, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from toolkit.agent.system import System

HOME = DIRECTORY + "/undo"
MEMORY = "/run/pinnace-agent-undo"
"""What files in /run had; after a reboot it is gone as they are."""
KEPT = 3
"""Runs that can be put back, the latest first."""
_LARGEST = 1 << 20
"""Bytes; what is larger is no configuration (a swap file, say) and is not put back."""
_START_SECONDS = 300
_UNIT_PLACES = ("/etc/systemd/", "/usr/lib/systemd/", "/run/systemd/")


class Undo:
    """The notes of one run, from :meth:`begin` on."""

    def __init__(self, system: System, run: str) -> None:
        self._system = system
        self._run = run
        self._noted: set[str] = set()
        self.directory = ""
        """Where the notes are, for this process; empty before there are any."""

    def path(self, path: str) -> None:
        """Note down what is at ``path`` now."""
        if path in self._noted or path == DIRECTORY or path.startswith(DIRECTORY + "/"):
            return
        self._noted.add(path)
        self._append({**self._look(path), "as": [os.geteuid(), os.getegid()]})

    def units(self, names: Iterable[str]) -> None:
        """Note down whether units are enabled and active now."""
        for name in sorted(set(names)):
            _, enabled = self._system.run(["systemctl", "is-enabled", name])
            active, _ = self._system.run(["systemctl", "is-active", "--quiet", name])
            words = enabled.split() or [""]
            self._append({"unit": name, "enabled": words[-1] == "enabled", "active": active == 0})

    def commands(self, argvs: Iterable[Sequence[str]]) -> None:
        """Note down commands that make files count; they are run again when those are put back."""
        for argv in argvs:
            self._append({"command": list(argv)})

    def _look(self, path: str) -> dict[str, Any]:
        found = self._system.lstat(path)
        if found is None:
            return {"path": path, "was": "absent"}
        note = {"path": path, "mode": stat.S_IMODE(found.st_mode), "uid": found.st_uid, "gid": found.st_gid}  # fmt: skip
        if stat.S_ISLNK(found.st_mode):
            return {**note, "was": "link", "target": os.readlink(self._system.path(path))}
        if stat.S_ISDIR(found.st_mode):
            return {**note, "was": "directory"}
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST:
            return {**note, "was": "kept"}
        if path.startswith("/proc/"):
            return {**note, "was": "value", "text": self._system.read_text(path)}
        data = base64.b64encode(self._system.read(path) or b"").decode()
        if path.startswith("/run/"):
            return {**note, "was": "file", "kept": self._keep(path, data)}
        return {**note, "was": "file", "data": data}

    def _keep(self, path: str, data: str) -> str:
        """What was in memory only (a secret, maybe) is kept in memory only: where, in :data:`MEMORY`."""
        name = f"{os.path.basename(self.directory)}-{len(self._noted)}"
        fd = os.open(_memory(self._system, name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)  # fmt: skip
        try:
            write_all(fd, data.encode())
        finally:
            os.close(fd)
        return name

    def begin(self) -> None:
        """Start the notes: from now on this is the latest run, whatever it changes."""
        with self._system.unnoted():
            self._begin()

    def _begin(self) -> None:
        self._system.make_directory(DIRECTORY, 0o700)
        self._system.make_directory(HOME, 0o700)
        known = runs(self._system)
        if known and run_of(known[-1]) == self._run:
            # The same run once more, after a reboot in its middle: its first notes are the ones that count.
            self.directory = self._system.path(f"{HOME}/{known[-1]}")
            self._noted = {
                note["path"] for note in _notes(self._system, known[-1]) if "path" in note
            }
            return
        for old in known[: -KEPT + 1]:
            forget(self._system, old)
        number = int(known[-1].split("-")[0]) + 1 if known else 1
        self.directory = self._system.path(f"{HOME}/{number:06}-{self._run}")
        os.mkdir(self.directory, 0o700)
        sync_directory(self._system.path(HOME))

    def _append(self, note: dict[str, Any]) -> None:
        # What a user's directory holds was looked at with that user's rights; the notes are root's.
        uid = os.geteuid()
        if uid != os.getuid():
            os.seteuid(os.getuid())
        try:
            self._write(note)
        finally:
            if uid != os.geteuid():
                os.seteuid(uid)

    def _write(self, note: dict[str, Any]) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(f"{self.directory}/log.jsonl", flags, 0o600)
        try:
            write_all(fd, json.dumps(note).encode() + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)
        sync_directory(self.directory)


def _memory(system: System, name: str) -> str:
    path = system.path(MEMORY)
    if not os.path.isdir(path):
        os.mkdir(path, 0o700)
    return f"{path}/{name}"


def runs(system: System) -> list[str]:
    """The runs that can be put back, the latest last."""
    try:
        return sorted(name for name in os.listdir(system.path(HOME)) if name[:6].isdigit())
    except FileNotFoundError:
        return []


def run_of(name: str) -> str:
    """The run that the notes ``name`` are of."""
    return name.partition("-")[2]


def forget(system: System, name: str) -> None:
    """Remove a run's notes; its log goes first, so that half of them is never put back."""
    memory = system.path(MEMORY)
    for entry in os.listdir(memory) if os.path.isdir(memory) else ():
        if entry.startswith(f"{name}-"):
            os.unlink(f"{memory}/{entry}")
    place = system.path(f"{HOME}/{name}")
    entries = sorted(os.listdir(place), key=lambda entry: entry != "log.jsonl")
    for entry in entries:
        os.unlink(f"{place}/{entry}")
    os.rmdir(place)
    sync_directory(system.path(HOME))


def revert(system: System, name: str) -> int:
    """Put back what the run ``name`` found, and forget it; returns how many things were put back.

    May be called again when it was cut off.
    """
    notes = list(_notes(system, name))
    paths = [note for note in notes if "path" in note]
    failed = []
    for note in reversed(paths):
        try:
            with system.acting_as(*note["as"]):
                _put_back(system, note)
        except OSError as problem:
            failed.append(from_os(problem).message)
    units = [note for note in notes if "unit" in note]
    if units or any(note["path"].startswith(_UNIT_PLACES) for note in paths):
        system.run(["systemctl", "daemon-reload"], _START_SECONDS)
    for note in notes:
        if "command" in note:  # what it applies may be gone again: a failure says nothing
            system.run(note["command"], _START_SECONDS)
    failed += [problem for note in units for problem in _unit(system, note)]
    forget(system, name)
    if failed:
        raise AgentError(f"everything else is as it was, but {'; '.join(failed)}")
    return len(notes)


def _notes(system: System, name: str) -> Iterator[dict[str, Any]]:
    """What was noted down; a last line that a power cut left half written was no change yet."""
    for line in system.read_text(f"{HOME}/{name}/log.jsonl").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            return


def _put_back(system: System, note: dict[str, Any]) -> None:
    path, was = note["path"], note["was"]
    found = system.lstat(path)
    if was == "absent":
        _remove(system, path)
    elif was == "value":
        with open(system.path(path), "w", encoding="utf-8") as file:
            file.write(note["text"])
    elif was == "link":
        system.symlink(path, note["target"])
    elif was == "file":
        kept = system.read(f"{MEMORY}/{note['kept']}") if "kept" in note else note["data"].encode()
        if kept is None:
            return
        data = iter((base64.b64decode(kept),))
        # A user cannot give a file to another group; the contents are what counts.
        owner = (note["uid"], note["gid"]) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
        system.write(path, data, note["mode"], *owner)
    elif was == "directory":
        if found is None:
            system.make_directory(path, note["mode"])
        os.chown(system.path(path), note["uid"], note["gid"])
        os.chmod(system.path(path), note["mode"])


def _remove(system: System, path: str) -> None:
    found = system.lstat(path)
    if found is None:
        return
    if not stat.S_ISDIR(found.st_mode):
        system.remove(path)
        return
    try:
        os.rmdir(system.path(path))
    except OSError:
        return  # somebody else keeps something there by now
    sync_directory(os.path.dirname(system.path(path)))


def _unit(system: System, note: dict[str, Any]) -> Iterator[str]:
    """Make a unit what it was; a word for each thing that did not work."""
    unit = note["unit"]
    enabled, _ = system.run(["systemctl", "is-enabled", "--quiet", unit])
    if note["enabled"] != (enabled == 0):
        system.run(["systemctl", "enable" if note["enabled"] else "disable", unit], _START_SECONDS)
    system.run(["systemctl", "reset-failed", unit])
    verb = "restart" if note["active"] else "stop"
    status, output = system.run(["systemctl", verb, unit], _START_SECONDS)
    if status and note["active"]:
        said = output.strip().splitlines()
        yield f"{unit} did not {verb}: {said[-1] if said else status}"
