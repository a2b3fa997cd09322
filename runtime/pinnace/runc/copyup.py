"""``tmpcopyup``: a tmpfs that starts with what it hides.

Kept in memory between taking and giving, because once the tmpfs is mounted the files below are
only reachable through the descriptor of the covered directory; bounded, as the image is hostile.
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from pinnace.errors import Error

_MAX = 64 << 20  # bytes of all files together


class Entry(NamedTuple):
    """One file, link or directory, by path relative to the directory taken."""

    path: str
    mode: int
    uid: int
    gid: int
    content: bytes


def collect(directory: int) -> list[Entry]:
    """What is in the directory behind the O_PATH descriptor; devices and sockets are left out."""
    entries: list[Entry] = []
    left = _MAX
    start = os.open(f"/proc/self/fd/{directory}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for place, directories, files, fd in os.fwalk(".", dir_fd=start, follow_symlinks=False):
            for name in directories + files:
                entry = _entry(fd, os.path.normpath(os.path.join(place, name)), name, left)
                if entry is not None:
                    entries.append(entry)
                    left -= len(entry.content)
    finally:
        os.close(start)
    return entries


def _entry(fd: int, path: str, name: str, left: int) -> Entry | None:
    found = os.stat(name, dir_fd=fd, follow_symlinks=False)
    content = b""
    if stat.S_ISLNK(found.st_mode):
        content = os.fsencode(os.readlink(name, dir_fd=fd))
    elif stat.S_ISREG(found.st_mode):
        if found.st_size > left:
            raise Error(f"tmpcopyup: more than {_MAX >> 20} MiB to copy")
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        with open(file, "rb") as stream:
            content = stream.read(found.st_size)
    elif not stat.S_ISDIR(found.st_mode):
        return None
    return Entry(path, found.st_mode, found.st_uid, found.st_gid, content)


def restore(directory: int, entries: list[Entry]) -> None:
    """Write ``entries`` into the fresh, empty directory behind the descriptor."""
    base = f"/proc/self/fd/{directory}"
    for entry in entries:
        target = f"{base}/{entry.path}"
        if stat.S_ISDIR(entry.mode):
            os.mkdir(target)
        elif stat.S_ISLNK(entry.mode):
            os.symlink(os.fsdecode(entry.content), target)
        else:
            with open(target, "xb") as stream:
                stream.write(entry.content)
        os.lchown(target, entry.uid, entry.gid)
        if not stat.S_ISLNK(entry.mode):
            os.chmod(target, stat.S_IMODE(entry.mode))
