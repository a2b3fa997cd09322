"""Paths inside a container's root, resolved so that no symlink, ``..`` or magic link leads out.

The one implementation for everything that touches a root file system on behalf of an image:
openat2(2) with RESOLVE_IN_ROOT where the kernel has it (5.6), else a walk by descriptors that
follows links itself, with the same results. Results are O_PATH descriptors; callers act on
``/proc/self/fd/N`` of them, so that nothing can be swapped between the check and the use
(CVE-2019-16884, CVE-2021-30465).
"""

from __future__ import annotations

import errno
import os
import stat

from pinnace.linux import libc
from pinnace.linux.kernel import KERNEL, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, Kernel

_MAX_LINKS = 40  # the kernel's MAXSYMLINKS
_PROC_SUPER_MAGIC = 0x9FA0
_PATH = os.O_PATH | os.O_CLOEXEC


def open_in_root(
    root: int, path: str, flags: int = os.O_PATH, *, mode: int = 0, kernel: Kernel = KERNEL
) -> int:
    """Open ``path`` as a process chrooted into the directory ``root`` would.

    Returns a close-on-exec descriptor. Raises OSError (ENOENT, ELOOP, ENOTDIR ...) naming the path.
    """
    relative = path.lstrip("/") or "."
    for _ in range(8):
        try:
            return kernel.openat2(
                root, relative, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
            )
        except OSError as problem:
            if problem.errno == errno.EAGAIN:
                continue  # something moved meanwhile: openat2(2) says to try again
            if problem.errno not in (errno.ENOSYS, errno.EPERM):
                raise
            break
    return _open_by_walking(root, relative, flags, mode)


def make_directory(root: int, path: str, mode: int = 0o755, *, kernel: Kernel = KERNEL) -> int:
    """Open the directory ``path`` inside ``root``, making what is missing; an O_PATH descriptor."""
    return _make(root, path, mode, kernel, 0)


def make_file(
    root: int, path: str, mode: int = 0o755, *, follow: bool = False, kernel: Kernel = KERNEL
) -> int:
    """Open the file ``path`` inside ``root`` as a mount point, made empty if it is missing.

    ``follow`` makes what a dangling link points to (/etc/resolv.conf of an image, into /run); without
    it that is an error.
    """
    return _make_file(root, path, mode, kernel, _MAX_LINKS if follow else 0)


def _make_file(root: int, path: str, mode: int, kernel: Kernel, links: int) -> int:
    try:
        return open_in_root(root, path, kernel=kernel)
    except FileNotFoundError:
        pass
    parent_path, name = _split(path)
    parent = make_directory(root, parent_path, kernel=kernel)
    try:
        made = os.open(
            name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, mode,
            dir_fd=parent,
        )  # fmt: skip
        os.close(made)
    except FileExistsError as problem:
        target = _link_target(parent, name)
        if target is None:
            raise
        if not links:
            raise FileNotFoundError(
                errno.ENOENT, f"dangling symlink to {target}", path
            ) from problem
        joined = target if target.startswith("/") else f"{parent_path}/{target}"
        return _make_file(root, joined, mode, kernel, links - 1)
    finally:
        os.close(parent)
    return open_in_root(root, path, kernel=kernel)


def _make(root: int, path: str, mode: int, kernel: Kernel, links: int) -> int:
    try:
        return open_in_root(root, path, os.O_PATH | os.O_DIRECTORY, kernel=kernel)
    except FileNotFoundError:
        pass
    if links > _MAX_LINKS:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    parent_path, name = _split(path)
    parent = _make(root, parent_path, mode, kernel, links)
    try:
        os.mkdir(name, mode, dir_fd=parent)
    except FileExistsError:
        target = _link_target(parent, name)
        if target is not None:
            # A link to a directory that is not there yet (/var/run -> /run): make that one.
            joined = target if target.startswith("/") else f"{parent_path}/{target}"
            return _make(root, joined, mode, kernel, links + 1)
    finally:
        os.close(parent)
    return open_in_root(root, path, os.O_PATH | os.O_DIRECTORY, kernel=kernel)


def _split(path: str) -> tuple[str, str]:
    parent, _, name = path.rstrip("/").rpartition("/")
    if name in ("", ".", ".."):
        raise OSError(errno.EINVAL, "not a path that can be made", path)
    return parent, name


def _link_target(directory: int, name: str) -> str | None:
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError:
        return None


def _open_by_walking(root: int, path: str, flags: int, mode: int) -> int:
    """The fallback: one part at a time, holding every directory, following links by hand.

    ``..`` goes back to the directory that was come from, wherever that was moved meanwhile.
    """
    stack = [os.dup(root)]
    pending = _parts(path)
    links = 0
    try:
        while pending:
            part = pending.pop()
            if part in (".", ".."):
                _cut(stack, len(stack) - (part == ".."))
                continue
            last = not pending
            entry = _open_entry(stack[-1], part, path, create=last and bool(flags & os.O_CREAT))
            if entry is None:
                return os.open(part, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=stack[-1])
            kind = os.fstat(entry).st_mode
            if stat.S_ISLNK(kind) and not (last and flags & os.O_NOFOLLOW):
                links += 1
                target = _followed(entry, path, links)
                _cut(stack, 1 if target.startswith("/") else len(stack))
                pending += _parts(target)
            elif last:
                return _open_last(stack[-1], part, entry, flags, path)
            elif stat.S_ISDIR(kind):
                stack.append(entry)
            else:
                os.close(entry)
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        if flags & os.O_PATH:
            return os.dup(stack[-1])
        plain = flags & ~(os.O_NOFOLLOW | os.O_CREAT)
        return os.open(".", plain | os.O_CLOEXEC, dir_fd=stack[-1])
    finally:
        for fd in stack:
            os.close(fd)


def _cut(stack: list[int], size: int) -> None:
    """Leave the lowest ``size`` descriptors open; the root always stays."""
    while len(stack) > max(size, 1):
        os.close(stack.pop())


def _parts(path: str) -> list[str]:
    """Parts to be taken from the end. What ends in a slash must be a directory: as if ``.`` followed."""
    parts = [part for part in path.split("/") if part]
    return ["."] * path.endswith("/") + parts[::-1]


def _open_entry(directory: int, name: str, path: str, *, create: bool) -> int | None:
    try:
        return os.open(name, _PATH | os.O_NOFOLLOW, dir_fd=directory)
    except FileNotFoundError:
        if create:
            return None
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None


def _followed(entry: int, path: str, links: int) -> str:
    """Where the link behind ``entry``, which is closed, leads. Raises OSError (ELOOP) for too many."""
    try:
        target = os.readlink("", dir_fd=entry)
        # The texts of procfs's magic links are no paths: /proc/PID/cwd, fd/3 -> pipe:[7].
        magic = target.startswith("/") or ":[" in target
        if links > _MAX_LINKS or (magic and libc.filesystem_type(entry) == _PROC_SUPER_MAGIC):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        return target
    finally:
        os.close(entry)


def _open_last(directory: int, name: str, entry: int, flags: int, path: str) -> int:
    """Open what ``entry``, which is closed or given back, was looked up as.

    Not through /proc/self/fd: after the pivot that is the container's. If it was replaced in between,
    the other one is inside, too, or a link, which is not followed.
    """
    if flags & os.O_PATH:
        if flags & os.O_DIRECTORY and not stat.S_ISDIR(os.fstat(entry).st_mode):
            os.close(entry)
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        return entry
    os.close(entry)
    try:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except OSError as problem:
        problem.filename = path
        raise
