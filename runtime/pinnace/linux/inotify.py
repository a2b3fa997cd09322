"""inotify(7), as much as is needed: a descriptor that tells when one file was written."""

from __future__ import annotations

import errno
import os

from pinnace.errors import ResourceExhausted
from pinnace.linux import libc

_MODIFY = 0x2


def modified(path: str) -> int:
    """A descriptor, not blocking, that is readable once ``path`` was modified.

    Raises OSError, and ResourceExhausted where the user has as many of them as the kernel allows (inotify(7), "/proc
    interfaces"; the errno is the one of too many open files).
    """
    try:
        fd = libc.call("inotify_init1", os.O_CLOEXEC | os.O_NONBLOCK, about=path)
    except OSError as problem:
        if problem.errno != errno.EMFILE:
            raise
        os.close(
            os.open("/", os.O_PATH)
        )  # fails where it is the process that has no descriptor left
        raise ResourceExhausted(
            f"watching {path}: no inotify instance is left",
            hint="allow more: sysctl -w fs.inotify.max_user_instances=8192",
        ) from None
    try:
        libc.call("inotify_add_watch", fd, path, _MODIFY, about=path)
    except BaseException:
        os.close(fd)
        raise
    return fd
