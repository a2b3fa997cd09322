"""Reading /proc/PID/mountinfo (proc_pid_mountinfo(5))."""

from __future__ import annotations

import re
from typing import NamedTuple


class MountPoint(NamedTuple):
    """One line of mountinfo."""

    id: int
    parent: int
    root: str  # the directory of the file system that is the root of this mount
    target: str
    options: tuple[str, ...]
    propagation: tuple[str, ...]  # shared:N, master:N, unbindable
    type: str
    source: str
    super_options: tuple[str, ...]


def parse(text: str) -> list[MountPoint]:
    """Mount points in the order of the kernel. Raises ValueError on a line of another format."""
    return [_parse_line(line) for line in text.splitlines()]


def read(pid: int | str = "self") -> list[MountPoint]:
    """The mount points that process ``pid`` sees."""
    with open(f"/proc/{pid}/mountinfo", "rb", buffering=0) as file:
        return parse(file.read().decode("utf-8", "surrogateescape"))


def read_types(*types: str) -> list[MountPoint]:
    """Of the mount points that this process sees those of some types of file system; a machine may have thousands of others."""
    with open("/proc/self/mountinfo", "rb", buffering=0) as file:
        lines = file.read().decode("utf-8", "surrogateescape").splitlines()
    # No other field has a blank: they are escaped.
    marks = tuple(f" - {name} " for name in types)
    return [_parse_line(line) for line in lines if any(mark in line for mark in marks)]


def _parse_line(line: str) -> MountPoint:
    before, separator, after = line.partition(" - ")
    fields, rest = before.split(" "), after.split(" ")
    if not separator or len(fields) < 6 or len(rest) < 2:
        raise ValueError(f"not a mountinfo line: {line!r}")
    return MountPoint(
        id=int(fields[0]),
        parent=int(fields[1]),
        root=_unescape(fields[3]),
        target=_unescape(fields[4]),
        options=tuple(fields[5].split(",")),
        propagation=tuple(fields[6:]),
        type=rest[0],
        source=_unescape(rest[1]),
        super_options=tuple(rest[2].split(",")) if len(rest) > 2 else (),
    )


def _unescape(field: str) -> str:
    if "\\" not in field:
        return field
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
