"""Writing to /proc so that it really is /proc, and the file that was meant (CVE-2025-52881).

Who writes a kernel setting or a security label through a path can be led elsewhere: to a file that does
nothing, so that a container runs unconfined, or to one that does harm (sysrq-trigger). Here the file is
reached from a descriptor of procfs's own root, in which nothing is mounted over, without following
links; what is opened must be on procfs, too.
"""

from __future__ import annotations

import errno
import os
import stat

from pinnace.linux import libc
from pinnace.linux.kernel import (
    KERNEL,
    RESOLVE_BENEATH,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    Kernel,
)

_PROC_SUPER_MAGIC = 0x9FA0  # include/uapi/linux/magic.h
_ROOT_INODE = 1  # PROC_ROOT_INO
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def write(path: str, text: str, *, kernel: Kernel = KERNEL, proc: str = "/proc") -> None:
    """Write ``text`` to the file ``path`` below /proc, in one call.

    ``self`` as the first part stands for the calling process. Raises PermissionError when something is
    in the way that is not procfs, else what open(2) and write(2) say.
    """
    fd = open_file(path, os.O_WRONLY, kernel=kernel, proc=proc)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def open_file(path: str, flags: int, *, kernel: Kernel = KERNEL, proc: str = "/proc") -> int:
    """A close-on-exec descriptor of the file ``path`` below /proc; as for ``write``."""
    if ".." in path.split("/"):
        raise PermissionError(errno.EPERM, "not a plain path", path)
    root = os.open(proc, _DIRECTORY)
    try:
        _require(root, proc)
        if os.fstat(root).st_ino != _ROOT_INODE:
            raise PermissionError(errno.EPERM, "not the root of procfs", proc)
        first, _, rest = path.partition("/")
        # The one link that is wanted; which process it leads to, that mount of procfs knows best.
        parts = os.readlink("self", dir_fd=root) if first == "self" else first
        fd = _open_beneath(kernel, root, f"{parts}/{rest}" if rest else parts, flags)
        try:
            _require(fd, path)
        except OSError:
            os.close(fd)
            raise
        return fd
    finally:
        os.close(root)


def is_proc(path: str) -> bool:
    """Whether ``path`` is the root of a procfs."""
    try:
        fd = os.open(path, _DIRECTORY)
    except OSError:
        return False
    try:
        is_root = os.fstat(fd).st_ino == _ROOT_INODE
        return is_root and libc.filesystem_type(fd) == _PROC_SUPER_MAGIC
    finally:
        os.close(fd)


def _require(fd: int, path: str) -> None:
    if libc.filesystem_type(fd) != _PROC_SUPER_MAGIC:
        raise PermissionError(errno.EPERM, "not on procfs", path)


def _open_beneath(kernel: Kernel, root: int, path: str, flags: int) -> int:
    resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV
    try:
        return kernel.openat2(root, path, flags, 0, resolve)
    except OSError as problem:
        if problem.errno in (errno.EXDEV, errno.ELOOP):
            raise PermissionError(errno.EPERM, "something is mounted over it", path) from None
        if problem.errno not in (errno.ENOSYS, errno.EPERM):
            raise
    return _open_by_walking(root, path, flags)


def _open_by_walking(root: int, path: str, flags: int) -> int:
    """Before Linux 5.6: part by part, each of the same mount as the root."""
    mount = libc.mount_id(root)
    place = os.dup(root)
    try:
        for part in path.split("/"):
            found = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
            os.close(place)
            place = found
            if libc.mount_id(place) != mount:
                raise PermissionError(errno.EPERM, "something is mounted over it", path)
        if stat.S_ISLNK(os.fstat(place).st_mode):
            raise PermissionError(errno.EPERM, "not a plain path", path)
        return os.open(f"/proc/self/fd/{place}", flags | os.O_CLOEXEC)
    finally:
        os.close(place)
