"""inotify(7), as much as is needed: a descriptor that tells when one file was written."""

from __future__ import annotations

import os

from pinnace.linux import libc

_MODIFY = 0x2


def modified(path: str) -> int:
    """A descriptor, not blocking, that is readable once ``path`` was modified. Raises OSError."""
    fd = libc.call("inotify_init1", os.O_CLOEXEC | os.O_NONBLOCK, about=path)
    try:
        libc.call("inotify_add_watch", fd, path, _MODIFY, about=path)
    except BaseException:
        os.close(fd)
        raise
    return fd
