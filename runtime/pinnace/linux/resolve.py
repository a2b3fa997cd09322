"""Paths inside a container's root, resolved so that no symlink, ``..`` or magic link leads out.

The one implementation for everything that touches a root file system on behalf of an image:
openat2(2) with RESOLVE_IN_ROOT where the kernel has it (5.6), else a walk by descriptors that
follows links itself. Results are O_PATH descriptors; callers act on ``/proc/self/fd/N`` of them,
so that nothing can be swapped between the check and the use (CVE-2019-16884, CVE-2021-30465).
"""

from __future__ import annotations

import errno
import os
import stat

from pinnace.linux.kernel import KERNEL, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, Kernel

_MAX_LINKS = 40
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


def make_file(root: int, path: str, mode: int = 0o755, *, kernel: Kernel = KERNEL) -> int:
    """Open the file ``path`` inside ``root`` as a mount point, made empty if it is missing."""
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
        raise FileNotFoundError(errno.ENOENT, f"dangling symlink to {target}", path) from problem
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
    """The fallback: one component at a time, holding every directory, following links by hand."""
    stack = [os.dup(root)]
    pending = [part for part in reversed(path.split("/")) if part]
    links = 0
    try:
        while pending:
            part = pending.pop()
            if part == ".":
                continue
            if part == "..":
                if len(stack) > 1:
                    os.close(stack.pop())
                continue
            entry = _open_entry(stack[-1], part, path, create=not pending and flags & os.O_CREAT)
            if entry is None:
                return os.open(part, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=stack[-1])
            if not stat.S_ISLNK(os.fstat(entry).st_mode):
                stack.append(entry)
                continue
            links += 1
            target = os.readlink("", dir_fd=entry)
            os.close(entry)
            if links > _MAX_LINKS or (not pending and flags & os.O_NOFOLLOW):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if target.startswith("/"):
                while len(stack) > 1:
                    os.close(stack.pop())
            pending += [piece for piece in reversed(target.split("/")) if piece]
        return _reopen(stack[-1], flags, path)
    finally:
        for fd in stack:
            os.close(fd)


def _open_entry(directory: int, name: str, path: str, *, create: object) -> int | None:
    try:
        return os.open(name, _PATH | os.O_NOFOLLOW, dir_fd=directory)
    except FileNotFoundError:
        if create:
            return None
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None


def _reopen(fd: int, flags: int, path: str) -> int:
    if flags & os.O_DIRECTORY and not stat.S_ISDIR(os.fstat(fd).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    if flags & os.O_PATH:
        return os.dup(fd)
    return os.open(f"/proc/self/fd/{fd}", flags & ~(os.O_NOFOLLOW | os.O_CREAT) | os.O_CLOEXEC)
