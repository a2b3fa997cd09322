"""What the stores ask of a disk: make it durable, remove a tree, and say in our errors what failed."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pinnace.errors import (
    DataLoss,
    Error,
    FailedPrecondition,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    from_os,
)
from pinnace.linux import libc

if TYPE_CHECKING:
    from collections.abc import Iterator

READ_ONLY_HINT = (
    "is the file system mounted read-only? After an error of its own it turns so: see dmesg"
)
FAILING_HINT = "the disk or card fails; see dmesg"
LOST = frozenset((errno.EIO, errno.EUCLEAN))
"""Errors that mean that bytes are gone; EUCLEAN is how some file systems say that their own records are."""
_FULL_HINT = "remove images that are not needed (ctr image rm), or enlarge the disk"


@contextmanager
def errors(what: str) -> Iterator[None]:
    """Turn an OSError inside into the runtime's error; *what* was being done, as in "write x"."""
    try:
        yield
    except OSError as error:
        raise translate(error, what) from error


def translate(error: OSError, what: str) -> Error:
    """The runtime's error for *error*, which came while doing *what*."""
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceExhausted(f"{what}: {reason}", hint=_FULL_HINT)
    if error.errno == errno.EROFS:
        return FailedPrecondition(f"{what}: {reason}", hint=READ_ONLY_HINT)
    if error.errno in LOST:
        return DataLoss(f"{what}: {reason}", hint=FAILING_HINT)
    if error.errno in (errno.EACCES, errno.EPERM):
        return PermissionDenied(f"{what}: {reason}")
    if error.errno == errno.ENOENT:
        return NotFound(f"{what}: not found")
    return from_os(error, what)


def sync_directory(path: str) -> None:
    """Make the names in a directory durable (fsync(2): a rename needs it besides the file's)."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_file_system(path: str) -> None:
    """Make everything on the file system that holds *path* durable (syncfs(2))."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        libc.call("syncfs", fd, about=path)
    finally:
        os.close(fd)


def remove_tree(path: str) -> None:
    """Remove a directory and what is in it, following nothing; what is gone already is fine."""
    try:
        parent = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        remove_at(parent, os.path.basename(path))
    finally:
        os.close(parent)


def remove_at(parent: int, name: str | bytes) -> None:
    """Remove what *name* is in the directory *parent*, a whole tree too, following no link.

    Depth is bounded by memory, not by recursion: hostile trees are deep.
    """
    if _unlink(parent, name):
        return
    stack = [(_open(parent, name), os.fsencode(name))]
    try:
        while stack:
            fd, own_name = stack[-1]
            child = _empty(fd)
            if child is not None:
                stack.append((_open(fd, child), child))
                continue
            above = stack[-2][0] if len(stack) > 1 else parent
            os.rmdir(own_name, dir_fd=above)
            os.close(stack.pop()[0])
    finally:
        for fd, _ in stack:
            os.close(fd)


def _open(parent: int, name: str | bytes) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(name, flags, dir_fd=parent)


def _empty(fd: int) -> bytes | None:
    """Unlink the files of a directory; the name of a subdirectory that must be emptied first."""
    with os.scandir(fd) as entries:
        names = [
            (os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries
        ]
    for name, is_directory in names:
        if not is_directory:
            _unlink(fd, name)
            continue
        try:
            os.rmdir(name, dir_fd=fd)
        except FileNotFoundError:
            continue
        except OSError:
            return name
    return None


def _unlink(parent: int, name: str | bytes) -> bool:
    """Unlink; True when nothing of that name is left, False when it is a directory."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return True
    except (IsADirectoryError, PermissionError):
        return False
    return True
