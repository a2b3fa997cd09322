"""seccomp(2): what this kernel can do, and giving a program to it for good."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from pinnace.errors import FailedPrecondition
from pinnace.linux.kernel import Kernel
from pinnace.linux.seccomp import bpf
from pinnace.linux.seccomp.profile import ALLOW, FLAGS, KILL_THREAD, Profile, action_name

_SET_FILTER, _ACTION_AVAILABLE = 1, 2
_MISSING_HINT = "this kernel or emulator has no seccomp: run the container without a profile"


def require(kernel: Kernel, profile: Profile) -> None:
    """Make sure, before anything is made, that the kernel can hold ``profile``.

    Raises FailedPrecondition naming what it can't.
    """
    for action in sorted(profile.actions - {ALLOW, KILL_THREAD}):
        if not has_action(kernel, action):
            raise FailedPrecondition(
                f"seccomp: this kernel has no {action_name(action)}",
                hint="a newer kernel, or a profile without it",
            )
    for name, flag in FLAGS.items():
        if profile.flags & flag and not has_flag(kernel, flag):
            if name == "SECCOMP_FILTER_FLAG_SPEC_ALLOW":
                profile.flags &= ~flag  # before Linux 4.17 there was nothing to allow
                continue
            raise FailedPrecondition(
                f"seccomp: this kernel has no {name}",
                hint="a newer kernel, or a profile without it",
            )


def has_action(kernel: Kernel, action: int) -> bool:
    """SECCOMP_GET_ACTION_AVAIL (Linux 4.14; before it, the kernel says when the filter is loaded)."""
    asked = ctypes.create_string_buffer(struct.pack("=I", action), 4)
    try:
        kernel.seccomp(_ACTION_AVAILABLE, 0, asked)
    except OSError as problem:
        if problem.errno == errno.ENOSYS:
            raise FailedPrecondition("seccomp filter refused", hint=_MISSING_HINT) from None
        return problem.errno == errno.EINVAL
    return True


def has_flag(kernel: Kernel, flag: int) -> bool:
    """Whether the kernel knows a flag: it looks at the program, there is none here, only then."""
    try:
        kernel.seccomp(_SET_FILTER, flag, None)
    except OSError as problem:
        return problem.errno == errno.EFAULT
    return True


def load(kernel: Kernel, program: bytes, flags: int) -> int:
    """Apply ``program`` to the calling thread; with NEW_LISTENER the descriptor of the listener.

    Raises FailedPrecondition when the kernel refuses.
    """
    instructions = ctypes.create_string_buffer(program, len(program))
    count = len(program) // bpf.INSTRUCTION.size
    # struct sock_fprog: a count and an address, aligned as C does.
    described = struct.pack("@HP", count, ctypes.addressof(instructions))
    try:
        return kernel.seccomp(
            _SET_FILTER, flags, ctypes.create_string_buffer(described, len(described))
        )
    except OSError as problem:
        raise refusal(problem.errno or errno.EIO) from None


def refusal(number: int) -> FailedPrecondition:
    """The error for a filter that the kernel did not take, by the number of the kernel's own."""
    hint = _MISSING_HINT if number in (errno.ENOSYS, errno.EINVAL) else ""
    if number == errno.EACCES:
        hint = "without noNewPrivileges it takes CAP_SYS_ADMIN"
    return FailedPrecondition(f"seccomp filter refused: {os.strerror(number)}", hint=hint)
