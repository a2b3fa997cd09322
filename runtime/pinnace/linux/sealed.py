"""Running the interpreter from where nobody can write to it.

A container's first process is, until it executes the container's program, this interpreter: its
``/proc/self/exe`` is the host's Python, and a hostile image can make the runtime execute that again and
write to it later (CVE-2019-5736). Executed from a read-only mount of that one file, which is in no mount table and so
can't be changed by anybody, or from a memory file that is sealed against writing, it is out of reach. The launcher
does the former before Python starts (``runtime/native/launch.c``).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
import sys
from typing import TYPE_CHECKING

from pinnace.linux import libc

if TYPE_CHECKING:
    from collections.abc import Mapping

_OPEN_TREE_CLONE = 1
_AT_FDCWD, _AT_EMPTY_PATH = -100, 0x1000
_ATTRIBUTE_READ_ONLY = 1

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE

_MARK = "PINNACE_SEALED"
"""Set across the one exec: where the seals can't be read back it keeps us from trying forever."""


_done = False  # in this process, or the one that it was forked from


def run_from_memory() -> None:
    """Execute this very command again from where nobody can write; at once back when that was done.

    Raises OSError where neither read-only mounts nor memory files can be made and executed.
    """
    global _done
    if os.environ.pop(_MARK, "") == str(os.getpid()):
        _done = True
    if _done:
        return
    os.environ[_MARK] = str(os.getpid())
    # sys.executable is what the caller's PATH says, and stays the name: Python finds its library by it.
    words = [sys.executable, *sys.orig_argv[1:]]
    for make in (_read_only, _sealed_copy):
        try:
            os.execve(f"/proc/self/fd/{make('/proc/self/exe')}", words, os.environ)  # noqa: S606 (ourselves)
        except OSError:
            if make is _sealed_copy:
                raise


def marked(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment for another program that will execute this interpreter again, from the same place, in this process."""
    return {**environment, _MARK: str(os.getpid())}


def open_program(path: str) -> int:
    """A close-on-exec descriptor of the program ``path`` through which, or through /proc/PID/exe of what it executes as,
    nobody can write to it. Raises OSError."""
    try:
        return _read_only(path)
    except OSError:  # Linux 5.11, or a user who may make no mounts
        return _sealed_copy(path)


def _read_only(path: str) -> int:
    """A read-only mount of the file ``path`` alone, in no mount table. Raises OSError before Linux 5.12."""
    mount = libc.syscall(
        "open_tree", libc.SYS_OPEN_TREE, _AT_FDCWD, path, _OPEN_TREE_CLONE | os.O_CLOEXEC
    )
    attributes = ctypes.create_string_buffer(struct.pack("=4Q", _ATTRIBUTE_READ_ONLY, 0, 0, 0), 32)
    try:
        libc.syscall(
            "mount_setattr", libc.SYS_MOUNT_SETATTR, mount, "", _AT_EMPTY_PATH, attributes, 32
        )
    except OSError:
        os.close(mount)
        raise
    return mount


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
