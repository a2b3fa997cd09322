"""Looks before anything is changed: space, and disks that can be written."""

from __future__ import annotations

import errno
import os

from toolkit.agent.errors import AgentError, from_os
from toolkit.agent.system import TEMPORARY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from toolkit.agent.system import System

RESERVE = 8 << 20
"""Bytes that stay free on every file system: logs and the board's own work need some."""
_READ_ONLY = 1  # ST_RDONLY, statvfs(3)


def check(places: Iterable[tuple[str, int]], system: System) -> None:
    """Raise :class:`AgentError` when a path of ``places`` (path, bytes) cannot take its bytes."""
    needed: dict[int, int] = {}
    example: dict[int, str] = {}
    tried: set[str] = set()
    for path, size in places:
        directory = _existing(os.path.dirname(path), system)
        device = os.stat(directory).st_dev
        needed[device] = needed.get(device, 0) + size
        example.setdefault(device, directory)
        if directory not in tried:
            tried.add(directory)
            _writable(directory)
    for device, size in needed.items():
        _room(example[device], size)


def _existing(path: str, system: System) -> str:
    while not os.path.isdir(system.path(path)) and path not in ("/", ""):
        path = os.path.dirname(path)
    return system.path(path) or "/"


def _writable(directory: str) -> None:
    """An actual write: permissions, read-only flags and broken disks all show up in it."""
    if os.statvfs(directory).f_flag & _READ_ONLY:
        raise AgentError(
            f"{directory} is on a read-only file system; nothing was changed",
            "on Raspberry Pi OS switch the overlay file system off in raspi-config",
        )
    try:
        fd = _nameless(directory)
        try:
            os.write(fd, bytes(4096))
        finally:
            os.close(fd)
    except OSError as problem:
        problem.filename = directory
        found = from_os(problem)
        raise AgentError(f"{found.message}; nothing was changed", found.hint) from None


def _nameless(directory: str) -> int:
    """A file that nobody has to remove, whenever this process ends."""
    flags = os.O_WRONLY | os.O_CLOEXEC
    try:
        return os.open(directory, flags | os.O_TMPFILE, 0o600)
    except OSError as problem:
        # Not known to FAT, which /boot/firmware is, nor to older overlays.
        if problem.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
    # One name for all runs: what a killed one left is taken over by the next.
    probe = os.path.join(directory, f"{TEMPORARY}probe")
    fd = os.open(probe, flags | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    os.unlink(probe)
    return fd


def _room(directory: str, size: int) -> None:
    found = os.statvfs(directory)
    free = found.f_bavail * found.f_frsize
    if free < size + RESERVE:
        raise AgentError(
            f"the disk of {directory} is full: {_mebibytes(size + RESERVE)} are needed and "
            f"{_mebibytes(free)} are free; nothing was changed",
            "make room on the board and run again",
        )


def _mebibytes(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
