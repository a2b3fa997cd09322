"""Reading /proc: facts about processes, never changes."""

from __future__ import annotations

import os
from typing import NamedTuple


class Stat(NamedTuple):
    """The parts of /proc/PID/stat that are used (proc_pid_stat(5))."""

    state: str  # one letter: R S D Z T t X ...
    parent: int
    start_time: int  # clock ticks after boot; with the pid, names one process for ever


def stat(pid: int) -> Stat | None:
    """Facts of process ``pid``, or None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            content = file.read(4096)
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name, in parentheses, may hold anything; what follows the last one is safe.
    fields = content[content.rindex(b")") + 2 :].split()
    return Stat(fields[0].decode(), int(fields[1]), int(fields[19]))


def alive(pid: int, start_time: int) -> bool:
    """Whether ``pid`` is still the process that started at ``start_time``, and no zombie."""
    found = stat(pid)
    return found is not None and found.start_time == start_time and found.state not in "ZXx"


def namespace_id(pid: int | str, name: str) -> str:
    """What /proc/PID/ns/NAME links to: equal for processes that share the namespace."""
    return os.readlink(f"/proc/{pid}/ns/{name}")
