"""Being told when a control group runs out of memory: a descriptor to wait on.

Version 1 counts up an eventfd that is tied to ``memory.oom_control`` (cgroup-v1/memory.rst, section 10);
version 2 changes ``memory.events``, which inotify sees.
"""

from __future__ import annotations

import os

from pinnace.linux import inotify
from pinnace.linux.cgroups.base import Cgroup
from pinnace.linux.cgroups.setting import write
from pinnace.linux.cgroups.v1 import LegacyCgroup


class OomWatch:
    """Watches one group; ``fd`` is readable when there is something to ask ``happened`` about."""

    __slots__ = ("_group", "fd", "seen")

    def __init__(self, group: Cgroup, fd: int, seen: int | None = None) -> None:
        """``seen``: how often it had happened when it was last asked about."""
        self._group = group
        self.seen = group.oom_kills() if seen is None else seen
        self.fd = fd

    def happened(self) -> bool:
        """Whether memory ran out since the last call; takes what made ``fd`` readable."""
        try:
            os.read(self.fd, 4096)
        except BlockingIOError:
            return False
        if self._group.version == 1:
            return self._group.exists()  # the end of a group counts the eventfd up, too
        seen, self.seen = self.seen, self._group.oom_kills()
        return self.seen > seen

    def close(self) -> None:
        """Stop watching."""
        os.close(self.fd)


def watch(group: Cgroup) -> OomWatch | None:
    """Watch ``group``; None where memory is not limited at all. Raises OSError."""
    if isinstance(group, LegacyCgroup):
        directory = group.directory("memory")
        return OomWatch(group, _eventfd(directory)) if directory else None
    events = f"{group.directories()[0]}/memory.events"
    return OomWatch(group, inotify.modified(events)) if os.path.exists(events) else None


def _eventfd(directory: str) -> int:
    fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        control = os.open(f"{directory}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        try:
            write(directory, "cgroup.event_control", f"{fd} {control}")
        finally:
            os.close(control)
    except BaseException:
        os.close(fd)
        raise
    return fd
