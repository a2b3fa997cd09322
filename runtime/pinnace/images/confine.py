"""A directory tree that nothing can be led out of: every step is taken from an open descriptor.

Links inside the tree are followed as a process chrooted into it would: an absolute target starts
at the tree's root, and ``..`` at the root stays there. No path is ever handed to the kernel, so
that nobody can exchange a directory for a link between a check and its use.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from pinnace.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS = 40  # as the kernel's MAXSYMLINKS
MAX_DEPTH = 255

Parts = tuple[bytes, ...]


def split(name: bytes, what: str = "layer member") -> Parts:
    """The components of a name from an archive, relative to its root.

    Raises InvalidArgument for ``..``, which no honest layer has, and for absurd depth.
    """
    parts = tuple(part for part in name.split(b"/") if part not in (b"", b"."))
    if b".." in parts:
        raise InvalidArgument(f"{what} {name.decode(errors='replace')[:200]!r} leaves the layer")
    if len(parts) > MAX_DEPTH:
        raise InvalidArgument(f"{what} lies {len(parts)} directories deep; {MAX_DEPTH} are allowed")
    return parts


class Tree:
    """The tree below *root*; remembers the directories on the way to the last one asked for."""

    def __init__(self, root: str, make: Callable[[int, bytes, Parts], None] | None = None) -> None:
        """*make* creates a missing directory: its parent's descriptor, name, and whole path."""
        self.root = os.open(root, _OPEN)
        self._make = make
        self._names: list[bytes] = []
        self._fds: list[int] = []

    def close(self) -> None:
        """Close every descriptor."""
        self.forget()
        if self.root >= 0:
            os.close(self.root)
            self.root = -1

    def forget(self) -> None:
        """Look everything up anew: something on the way may have been replaced."""
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()
        self._names.clear()

    def directory(self, parts: Parts) -> int:
        """Descriptor of a directory, made if missing; it stays ours, until the next call.

        Raises InvalidArgument when something else than a directory is in the way.
        """
        names, fds = self._names, self._fds
        common = 0
        for mine, wanted in zip(names, parts, strict=False):
            if mine != wanted:
                break
            common += 1
        while len(fds) > common:
            os.close(fds.pop())
            names.pop()
        while len(fds) < len(parts):
            at = len(fds)
            fds.append(self._step(fds[-1] if fds else self.root, parts[: at + 1]))
            names.append(parts[at])
        return fds[-1] if fds else self.root

    def _step(self, parent: int, parts: Parts) -> int:
        name = parts[-1]
        try:
            return os.open(name, _OPEN, dir_fd=parent)
        except FileNotFoundError:
            if self._make is None:
                raise
            self._make(parent, name, parts)
            return os.open(name, _OPEN, dir_fd=parent)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            return self.resolve(parts)

    def resolve(self, parts: Sequence[bytes], *, make: bool = True) -> int:
        """A new descriptor of a directory, with links on the way followed inside the tree.

        Raises InvalidArgument for what is no directory and for loops, FileNotFoundError.
        """
        stack = [os.dup(self.root)]
        todo = list(reversed(parts))
        path: list[bytes] = []
        links = 0
        try:
            while todo:
                name = todo.pop()
                if name in (b"", b"."):
                    continue
                if name == b"..":
                    if len(stack) > 1:
                        os.close(stack.pop())
                        path.pop()
                    continue
                target = self._enter(stack, path, name, make)
                if target is None:
                    continue
                links += 1
                if links > _MAX_LINKS or len(todo) > 2 * MAX_DEPTH:
                    raise InvalidArgument(f"too many links in {_shown(parts)}")
                if target.startswith(b"/"):
                    while len(stack) > 1:
                        os.close(stack.pop())
                    path.clear()
                todo.extend(reversed(target.split(b"/")))
            return stack.pop()
        finally:
            for fd in stack:
                os.close(fd)

    def _enter(self, stack: list[int], path: list[bytes], name: bytes, make: bool) -> bytes | None:
        """Go one directory down; where a link is, return its target instead."""
        if len(stack) > MAX_DEPTH:
            raise InvalidArgument(f"{_shown(path)} is too deep")
        try:
            fd = os.open(name, _OPEN, dir_fd=stack[-1])
        except FileNotFoundError:
            if not make or self._make is None:
                raise
            self._make(stack[-1], name, (*path, name))
            fd = os.open(name, _OPEN, dir_fd=stack[-1])
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            try:
                return os.readlink(name, dir_fd=stack[-1])
            except OSError:
                raise InvalidArgument(f"{_shown([*path, name])} is not a directory") from None
        stack.append(fd)
        path.append(name)
        return None


def _shown(parts: Sequence[bytes]) -> str:
    return repr(b"/".join(parts).decode(errors="replace")[:200])


def find_below(root: str, parts: Parts) -> os.stat_result | None:
    """What is at a path in another tree, no link followed; None when nothing is.

    Raises NotADirectoryError when the path leads through something that is no directory.
    """
    fd = os.open(root, _OPEN)
    try:
        for name in parts[:-1]:
            try:
                below = os.open(name, _OPEN, dir_fd=fd)
            except FileNotFoundError:
                return None
            os.close(fd)
            fd = below
        try:
            return os.stat(parts[-1], dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
    finally:
        os.close(fd)
