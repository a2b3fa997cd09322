"""Running the interpreter from a sealed copy of itself in memory.

A container's first process is, until it executes the container's program, this interpreter: its
``/proc/self/exe`` is the host's Python, and a hostile image can make the runtime execute that again and
write to it later (CVE-2019-5736). A memfd that is sealed against writing can't be changed by anybody.
"""

from __future__ import annotations

import fcntl
import os
import sys

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE

_MARK = "PINNACE_SEALED"
"""Set across the one exec: where the seals can't be read back it keeps us from trying forever."""


def is_sealed() -> bool:
    """Whether this process's program file can't be written by anyone."""
    fd = os.open("/proc/self/exe", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return fcntl.fcntl(fd, fcntl.F_GET_SEALS) & _SEALS == _SEALS
    except OSError:
        return False  # an ordinary file has no seals
    finally:
        os.close(fd)


def run_from_memory() -> None:
    """Execute this very command again from a sealed copy of the interpreter; at once back when it is one.

    Raises OSError where memory files can't be made or executed.
    """
    marked = os.environ.pop(_MARK, "") == str(os.getpid())
    if marked or is_sealed():
        return
    fd = _sealed_copy("/proc/self/exe")  # sys.executable is what the caller's PATH says
    os.environ[_MARK] = str(os.getpid())
    # The program's own name stays: Python finds its library by it.
    os.execve(  # noqa: S606 (ourselves)
        f"/proc/self/fd/{fd}", [sys.executable, *sys.orig_argv[1:]], os.environ
    )


def _sealed_copy(path: str) -> int:
    """A memfd with the content of ``path``; stays open across the exec only as the program itself."""
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(source).st_size
        target = os.memfd_create("python", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        done = 0
        while done < size:
            moved = os.sendfile(target, source, done, size - done)
            if not moved:
                break
            done += moved
    finally:
        os.close(source)
    fcntl.fcntl(target, fcntl.F_ADD_SEALS, _SEALS)
    return target
