"""fork(2) straight into a version 2 control group: clone3(2) with CLONE_INTO_CGROUP.

Writing a pid to ``cgroup.procs`` takes a system-wide lock that costs a grace period of RCU, measured
at 5 to 16 ms, unless somebody just did the same; being born in the group costs nothing. Kernel 5.7
and later; never under user emulation, which refuses clone3.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct

from pinnace.linux import libc

_INTO_CGROUP = 0x200000000
_CHILD_SETTID, _CHILD_CLEARTID = 0x01000000, 0x00200000
_PR_GET_TID_ADDRESS = 40
_ARGUMENTS = struct.Struct("=11Q")  # struct clone_args of include/uapi/linux/sched.h, 5.7


def into_cgroup(directory_fd: int) -> int:
    """Fork; the child is in the group whose directory is ``directory_fd``. The child's pid, or 0 in it.

    Only for a process with one thread. Raises OSError when the kernel does not do this, or the group
    takes no further process; nothing was forked then.
    """
    _check_offered()
    tid = _tid_address()
    arguments = ctypes.create_string_buffer(
        _ARGUMENTS.pack(
            _INTO_CGROUP | _CHILD_SETTID | _CHILD_CLEARTID,
            0, tid, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, directory_fd,
        ),
        _ARGUMENTS.size,
    )  # fmt: skip
    # What os.fork() does around the system call. The C library's part is the thread id, which it
    # keeps at ``tid``; its locks are free, as there is no other thread.
    interpreter = ctypes.pythonapi
    interpreter.PyOS_BeforeFork()
    pid, problem = libc.syscall_with_interpreter(libc.SYS_CLONE3, arguments, _ARGUMENTS.size)
    if pid == 0:
        interpreter.PyOS_AfterFork_Child()
        return 0
    interpreter.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(problem, f"clone3: {os.strerror(problem)}")
    return pid


def _check_offered() -> None:
    """clone3 of nothing is invalid where it exists. Raises OSError (ENOSYS) where not."""
    pid, problem = libc.syscall_with_interpreter(libc.SYS_CLONE3, None, 0)
    if pid != -1 or problem != errno.EINVAL:
        raise OSError(errno.ENOSYS, "clone3: not offered")


def _tid_address() -> int:
    """Where the C library keeps this thread's id, as it told the kernel (set_tid_address(2)).

    Raises OSError on a kernel that does not tell (no CONFIG_CHECKPOINT_RESTORE).
    """
    found = ctypes.c_uint64()  # the kernel writes a word of its own size, also for a 32-bit program
    if libc.prctl(_PR_GET_TID_ADDRESS, ctypes.addressof(found)) == -1:
        raise libc.fail("prctl", "PR_GET_TID_ADDRESS")
    if not found.value or ctypes.c_int.from_address(found.value).value != os.getpid():
        raise OSError(errno.ENOTSUP, "the place of the thread's id is not known")
    return found.value
