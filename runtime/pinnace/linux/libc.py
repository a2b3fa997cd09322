"""The one door to the C library: every system call Python's ``os`` does not offer.

A failed call raises ``OSError`` (of the errno's own subclass) that names the call and the thing it
was about. Numbers are the kernel's user space interface (include/uapi/linux); the system calls
used by number here are 424 and later, which are the same on every architecture, but for keyctl(2)
and seccomp(2), whose numbers are those of x86, Arm and (64 bits) the generic table.
"""

from __future__ import annotations

import ctypes
import os
import struct

_libc = ctypes.CDLL(None, use_errno=True)
_locked = ctypes.PyDLL(None, use_errno=True)  # keeps the interpreter's lock during a call

_NARROW = struct.calcsize("P") == 4
_MACHINE = os.uname().machine
# By the program's own architecture: a 32-bit program may run on a 64-bit kernel.
SYS_KEYCTL = (288 if _NARROW else 250) if "86" in _MACHINE else (311 if _NARROW else 219)
SYS_SECCOMP = (354 if _NARROW else 317) if "86" in _MACHINE else (383 if _NARROW else 277)
SYS_OPEN_TREE = 428
SYS_MOVE_MOUNT = 429
SYS_FSOPEN = 430
SYS_FSCONFIG = 431
SYS_FSMOUNT = 432
SYS_CLONE3 = 435
SYS_CLOSE_RANGE = 436
SYS_OPENAT2 = 437
SYS_PIDFD_GETFD = 438
SYS_MOUNT_SETATTR = 442


def _encode(value: str | bytes | int | None) -> bytes | int | None:
    return os.fsencode(value) if isinstance(value, str) else value


def fail(call: str, thing: object = "") -> OSError:
    """The error of the last failed C call, with the call and the thing named."""
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}", str(thing) if thing != "" else None)


def call(name: str, *arguments: str | bytes | int | None, about: object = "") -> int:
    """Call a libc function returning -1 on failure; strings are encoded as file names."""
    result: int = getattr(_libc, name)(*[_encode(argument) for argument in arguments])
    if result == -1:
        raise fail(name, about)
    return result


def syscall(
    name: str, number: int, *arguments: str | bytes | int | ctypes.Array[ctypes.c_char] | None,
    about: object = "",
) -> int:  # fmt: skip
    """Make a system call by number; integers are passed as C ``long``."""
    words = [
        ctypes.c_long(argument) if isinstance(argument, int) else _encode(argument)  # type: ignore[arg-type]
        for argument in arguments
    ]
    result: int = _libc.syscall(ctypes.c_long(number), *words)
    if result == -1:
        raise fail(name, about)
    return result


def prctl(option: int, *arguments: bytes | int | ctypes.c_ulong) -> int:
    """prctl(2) as it is, for ``Kernel.prctl``."""
    words = [ctypes.c_ulong(word) if isinstance(word, int) else word for word in arguments]
    result: int = _libc.prctl(option, *words)
    return result


def syscall_with_interpreter(number: int, *arguments: object) -> tuple[int, int]:
    """A system call that returns in a child too, made with the interpreter's lock held: (result, errno)."""
    result: int = _locked.syscall(ctypes.c_long(number), *arguments)
    return result, ctypes.get_errno()


def filesystem_type(fd: int) -> int:
    """The magic number of the file system that ``fd`` is on (fstatfs(2): ``f_type``, the first word)."""
    found = ctypes.create_string_buffer(256)
    if _libc.fstatfs(fd, found) == -1:
        raise fail("fstatfs", fd)
    return int(ctypes.c_ulong.from_buffer(found).value)


def mount_id(fd: int) -> int:
    """The mount that ``fd`` is on, as the kernel numbers them (proc_pid_fdinfo(5))."""
    with open(f"/proc/self/fdinfo/{fd}", "rb") as file:
        for line in file:
            if line.startswith(b"mnt_id:"):
                return int(line[7:])
    return -1
