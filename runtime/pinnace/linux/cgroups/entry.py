"""The way into a control group for a process that is about to become a container's.

Moving another process, or one with several threads, takes a lock of the kernel that costs 5 to 16 ms
(``linux/fork.py``). A process with one thread that moves itself by writing 0 to version 1's ``tasks``
does not take it, and neither does one that is born in a version 2 group. What is needed is opened
beforehand: the kernel asks who opened a file, so this works behind namespaces and a new root, too.
"""

from __future__ import annotations

import contextlib
import errno
import os

from pinnace.linux.kernel import Kernel

_TRANSIENT = (errno.EAGAIN, errno.ENOMEM)


class Entry:
    """Open files of one group's hierarchies; inherited through fork, closed on exec."""

    __slots__ = ("is_inside", "tasks", "unified")

    def __init__(self, legacy: list[str], unified: str) -> None:
        """``legacy`` are directories of version 1, in the order of joining; ``unified`` may be empty.

        Raises OSError.
        """
        self.tasks: list[int] = []
        self.unified = -1
        self.is_inside = not unified
        """Whether this process needs no more help with the unified hierarchy."""
        try:
            for directory in legacy:
                self.tasks.append(os.open(f"{directory}/tasks", os.O_WRONLY | os.O_CLOEXEC))
            if unified:
                flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
                self.unified = os.open(unified, flags)
        except BaseException:
            self.close()
            raise

    def fds(self) -> list[int]:
        """The open descriptors."""
        return [*self.tasks, *([self.unified] if self.unified >= 0 else [])]

    def fork(self, kernel: Kernel, *, with_rights: bool = True) -> int:
        """Fork, into the unified group where that can be done: pid of the child, 0 in it.

        Where it cannot, ``is_inside`` stays false on both sides, and somebody has to move the child.
        ``with_rights`` tells whether this process may write to the group: one in a user namespace of
        its own may not, and must not even try, as a failed first fork ends a new pid namespace.
        """
        if self.is_inside or not with_rights:
            return os.fork()
        try:
            pid = kernel.fork_into(self.unified)
        except OSError as problem:
            return _fork_after(problem)
        self.is_inside = True
        return pid

    def enter(self) -> None:
        """Move this process, which has one thread, into the version 1 groups; once."""
        try:
            for fd in self.tasks:
                os.write(fd, b"0")
        finally:
            self.close()

    def close(self) -> None:
        """Let go of everything; harmless when done twice."""
        for fd in self.fds():
            with contextlib.suppress(OSError):
                os.close(fd)
        self.tasks, self.unified = [], -1


def _fork_after(refused: OSError) -> int:
    """Fork as usual; when that fails too, the first refusal is the reason."""
    if refused.errno in _TRANSIENT:
        raise refused
    try:
        return os.fork()
    except OSError:
        raise refused from None
