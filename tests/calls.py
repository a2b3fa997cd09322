"""Making system calls in a child that a seccomp filter holds, and what became of them.

Calls are made by number through libc's syscall(2), and, on x86-64, as a 32-bit program makes them. The
child answers through shared memory, as a filter may refuse it to write.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import resource
import signal
import struct
from collections.abc import Callable, Sequence

from pinnace.errors import Error
from pinnace.linux.kernel import KERNEL, PR_SET_NO_NEW_PRIVS
from pinnace.linux.seccomp import Filter

_libc = ctypes.CDLL(None, use_errno=True)
_OUTCOME = struct.Struct("qqq")  # whether it came back, its result, its errno
_TRAPPED = -1000

# int call(int number, const uint32_t words[6]): rbx and rbp are saved, the words go to ebx ecx edx esi edi
# ebp, the number to eax, then int 0x80.
_LEGACY = bytes.fromhex(
    "53 55 89f8 4989f0 418b18 418b4804 418b5008 418b700c 418b7810 418b6814 cd80 5d 5b c3"
)


LIVING = [
    "brk", "exit_group", "futex", "getpid", "gettid", "madvise", "mmap", "mprotect", "munmap",
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "clock_gettime",
]  # fmt: skip
"""Calls that the child needs to live and to answer: an allow-list must have them."""

_mapped: list[mmap.mmap] = []  # machine code must outlive the function that makes it callable


class Outcome:
    """What a call did: ``result`` and ``errno``, or the signal that ended or trapped its maker."""

    def __init__(self, result: int | None, errno: int, signal: int) -> None:
        self.result = result
        self.errno = errno
        self.signal = signal

    def __repr__(self) -> str:
        return f"Outcome(result={self.result}, errno={self.errno}, signal={self.signal})"


def attempt(
    held: Filter, number: int, arguments: Sequence[int] = (), *, legacy: bool = False
) -> Outcome:
    """Fork, load the filter, make one call; ``legacy`` makes it as a 32-bit x86 program."""
    shared = mmap.mmap(-1, 4096)
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            _inside(held, number, arguments, shared, legacy)
        os._exit(99)
    _, status = os.waitpid(pid, 0)
    came_back, result, errno = _OUTCOME.unpack_from(shared)
    shared.close()
    if came_back == _TRAPPED:
        return Outcome(None, 0, signal.SIGSYS)
    if came_back:
        return Outcome(result, errno, 0)
    if os.WIFSIGNALED(status):
        # A process killed by a filter must not look as if it had been trapped.
        return Outcome(None, 0, -os.WTERMSIG(status))
    raise AssertionError(f"the child ended with {os.waitstatus_to_exitcode(status)}")


def _inside(
    held: Filter, number: int, arguments: Sequence[int], shared: mmap.mmap, legacy: bool
) -> None:
    memory = ctypes.addressof(ctypes.c_char.from_buffer(shared))
    words = (ctypes.c_int64 * 3).from_address(memory)

    def trapped(*_: object) -> None:
        words[0] = _TRAPPED
        os._exit(0)

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGSYS, trapped)
    call = _legacy(number, arguments) if legacy else _native(number, arguments)
    KERNEL.prctl(PR_SET_NO_NEW_PRIVS, 1)
    try:
        held.load()
    except Error:
        os._exit(98)
    result = call()
    words[1], words[2] = result, ctypes.get_errno()
    if legacy and -4096 < result < 0:
        words[1], words[2] = -1, -result
    words[0] = 1
    os._exit(0)


def _native(number: int, arguments: Sequence[int]) -> Callable[[], int]:
    words = [ctypes.c_long(number), *(ctypes.c_ulong(each) for each in arguments)]
    function = _libc.syscall
    function.restype = ctypes.c_long
    return lambda: int(function(*words))


def _legacy(number: int, arguments: Sequence[int]) -> Callable[[], int]:
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    _mapped.append(code)
    code.write(_LEGACY)
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p)
    function = kind(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    words = (ctypes.c_uint32 * 6)(*[each & 0xFFFFFFFF for each in arguments])
    return lambda: int(function(number, ctypes.addressof(words)))
