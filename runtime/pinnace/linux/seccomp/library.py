"""libseccomp through ctypes: a profile becomes a program of the kernel's.

The library knows the system calls of every architecture by name; it is on every machine with systemd.
Only its compiler is used: the program is exported and loaded by ``pinnace.linux.seccomp.loading``.
"""

from __future__ import annotations

import ctypes
import errno
import os
from typing import NamedTuple

from pinnace.errors import FailedPrecondition, InvalidArgument
from pinnace.linux.seccomp import bpf, several
from pinnace.linux.seccomp.profile import (
    ALLOW,
    ARCHITECTURES,
    ERRNO,
    LOG,
    NOTIFY,
    TRACE,
    Condition,
    Profile,
)

_ATTRIBUTE_OPTIMIZE = 8
_BINARY_TREE = 2
_NO_SUCH_CALL = -1
_MOST_CALLS = 512  # above the highest number of a call on a 32-bit machine
_X32, _X86_64 = ARCHITECTURES["SCMP_ARCH_X32"], ARCHITECTURES["SCMP_ARCH_X86_64"]
# From here on numbers belong to another table: x32's, and __ARM_NR_BASE (set_tls, cacheflush ...).
_LIMITS = {ARCHITECTURES["SCMP_ARCH_X86_64"]: 0x40000000, ARCHITECTURES["SCMP_ARCH_ARM"]: 0x0F0000}

# The calls with 64-bit times that 32-bit machines got in Linux 5.1 (include/uapi/asm-generic/unistd.h).
_TIME64 = frozenset(
    {
        "clock_adjtime64", "clock_getres_time64", "clock_gettime64", "clock_nanosleep_time64",
        "clock_settime64", "futex_time64", "io_pgetevents_time64", "mq_timedreceive_time64",
        "mq_timedsend_time64", "ppoll_time64", "pselect6_time64", "recvmmsg_time64",
        "rt_sigtimedwait_time64", "sched_rr_get_interval_time64", "semtimedop_time64",
        "timer_gettime64", "timer_settime64", "timerfd_gettime64", "timerfd_settime64",
        "utimensat_time64",
    }
)  # fmt: skip


class _Comparison(ctypes.Structure):
    """struct scmp_arg_cmp of seccomp.h."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


class _Version(ctypes.Structure):
    """struct scmp_version of seccomp.h."""

    _fields_ = (("major", ctypes.c_uint), ("minor", ctypes.c_uint), ("micro", ctypes.c_uint))


class Compiled(NamedTuple):
    """A program, and the names in its profile that this version of the library doesn't know."""

    program: bytes
    unknown: tuple[str, ...]


class Library:
    """The loaded library."""

    def __init__(self) -> None:
        """Raises FailedPrecondition where it is not installed."""
        try:
            self._calls = calls = ctypes.CDLL("libseccomp.so.2")
        except OSError:
            raise FailedPrecondition(
                "a seccomp profile needs libseccomp.so.2", hint="install the package libseccomp2"
            ) from None
        calls.seccomp_version.restype = ctypes.POINTER(_Version)
        calls.seccomp_init.restype = ctypes.c_void_p
        calls.seccomp_arch_native.restype = ctypes.c_uint32
        calls.seccomp_syscall_resolve_num_arch.argtypes = [ctypes.c_uint32, ctypes.c_int]
        calls.seccomp_syscall_resolve_num_arch.restype = ctypes.c_void_p
        self._free = ctypes.CDLL(None).free
        self._free.argtypes = [ctypes.c_void_p]
        calls.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
        calls.seccomp_release.argtypes = [ctypes.c_void_p]
        calls.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
        calls.seccomp_arch_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
        calls.seccomp_syscall_resolve_name_arch.argtypes = [ctypes.c_uint32, ctypes.c_char_p]
        calls.seccomp_rule_add_array.argtypes = [
            ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint,
            ctypes.POINTER(_Comparison),
        ]  # fmt: skip

    def version(self) -> str:
        """Such as ``2.5.4``."""
        found = self._calls.seccomp_version().contents
        return f"{found.major}.{found.minor}.{found.micro}"

    def native(self) -> int:
        """The architecture of this program."""
        return int(self._calls.seccomp_arch_native())

    def number(self, name: str, architecture: int) -> int:
        """The system call's number; negative where the architecture has none."""
        found: int = self._calls.seccomp_syscall_resolve_name_arch(architecture, name.encode())
        return found

    def name(self, number: int, architecture: int) -> str:
        """The name of a system call; empty for a number without."""
        found = self._calls.seccomp_syscall_resolve_num_arch(architecture, number)
        if not found:
            return ""
        try:
            return (ctypes.string_at(found) or b"").decode()
        finally:
            self._free(found)

    def compile(self, profile: Profile) -> Compiled:
        """Raises InvalidArgument when the library refuses a rule."""
        context = self._calls.seccomp_init(ctypes.c_uint32(profile.default))
        if not context:
            raise InvalidArgument(f"seccomp: the default action {profile.default:#x} is refused")
        try:
            # Before libseccomp 2.5 there is no such attribute: the program is only slower.
            self._calls.seccomp_attr_set(context, _ATTRIBUTE_OPTIMIZE, _BINARY_TREE)
            added = [
                each for each in profile.architectures if self._add_architecture(context, each)
            ]
            unknown = self._add_rules(context, profile)
            program = _exported(self._calls, context)
        finally:
            self._calls.seccomp_release(context)
        architectures = {self.native(), *added}
        program = self._answer_unknown_calls(profile, architectures) + program
        program = self._decide_by_several_rules(profile, architectures) + program
        if not bpf.looks_whole(program):
            raise InvalidArgument(
                f"seccomp: the profile takes {len(program) // bpf.INSTRUCTION.size} instructions",
                hint=f"the kernel takes {bpf.MAX_INSTRUCTIONS}",
            )
        return Compiled(program, tuple(sorted(unknown)))

    def _add_architecture(self, context: int, token: int) -> bool:
        """Whether it is in the filter now; not where the byte order is another, none can run here."""
        result = self._calls.seccomp_arch_add(context, token)
        if result and -result not in (errno.EEXIST, errno.EDOM, errno.EINVAL):
            raise InvalidArgument(f"seccomp: architecture {token:#x}: {os.strerror(-result)}")
        return not result or -result == errno.EEXIST

    def _add_rules(self, context: int, profile: Profile) -> set[str]:
        """Add every rule; the names that mean nothing to this library are given back."""
        unknown = set()
        native = self.native()
        for rule in profile.rules:
            if rule.action == profile.default:
                continue
            for name in rule.names:
                number = self.number(name, native)
                if number == _NO_SUCH_CALL:
                    unknown.add(name)
                    continue
                for conditions in _alternatives(rule.conditions):
                    self._add(context, name, number, rule.action, conditions)
        unheard_of = ERRNO | errno.ENOSYS
        # libseccomp refuses a rule that says what happens anyway.
        if _refuses(profile.default) and profile.default != unheard_of:
            for name in sorted(_TIME64 - profile.names()):
                number = self.number(name, native)
                if number != _NO_SUCH_CALL:
                    self._add(context, name, number, unheard_of, ())
        return unknown

    def _add(
        self, context: int, name: str, number: int, action: int, conditions: tuple[Condition, ...]
    ) -> None:
        array = (_Comparison * max(1, len(conditions)))(*[_Comparison(*one) for one in conditions])
        result = self._calls.seccomp_rule_add_array(context, action, number, len(conditions), array)
        # EDOM: no architecture of the filter has this call. EEXIST: the very rule is there already.
        if result and -result not in (errno.EDOM, errno.EEXIST):
            raise InvalidArgument(f"seccomp: rule for {name}: {os.strerror(-result)}")

    def _answer_unknown_calls(self, profile: Profile, architectures: set[int]) -> bytes:
        """What a profile never heard of does not exist: programs then do without (moby#40734)."""
        if not _refuses(profile.default):
            return b""
        known = {}
        for architecture in sorted(architectures - {_X32}):
            limit = _LIMITS.get(architecture, 1 << 32)
            numbers = (self.number(name, architecture) for name in profile.names())
            highest = max((each for each in numbers if 0 <= each < limit), default=-1)
            if highest >= 0:
                known[architecture] = highest
        return bpf.unknown_calls(known, _LIMITS)

    def _decide_by_several_rules(self, profile: Profile, architectures: set[int]) -> bytes:
        """Blocks of our own for calls that libseccomp would get wrong; its rules for them are never reached.

        But for calls that 32-bit x86 also makes through socketcall and ipc: that way stays libseccomp's.
        """
        program = b""
        for name, rules in several.choices(profile, _alternatives).items():
            for architecture in sorted(architectures):
                number = self._own_number(name, architecture)
                if number >= 0:
                    told = _X86_64 if architecture == _X32 else architecture  # as the kernel does
                    program += several.block(told, number, rules, profile.default)
        return program

    def _own_number(self, name: str, architecture: int) -> int:
        """The number of a call made directly; negative where the architecture has none."""
        number = self.number(name, architecture)
        if number >= _NO_SUCH_CALL:
            return number
        # Of those that socketcall and ipc offer, too, the library tells no number but knows the name of one.
        return next(
            (each for each in range(_MOST_CALLS) if self.name(each, architecture) == name), -1
        )


def _refuses(default: int) -> bool:
    """Whether what a profile doesn't name is refused. A tracer or supervisor decides by itself."""
    return default not in (ALLOW, LOG, NOTIFY) and default & ~0xFFFF != TRACE


def _alternatives(conditions: tuple[Condition, ...]) -> list[tuple[Condition, ...]]:
    """Sets of conditions of which one must hold.

    The kernel's filters compare an argument once. A rule that compares one twice is taken as two rules,
    as runc and crun do: profiles out there (clone's and socket's) are written for that.
    """
    indexes = [one.argument for one in conditions]
    if len(set(indexes)) == len(indexes):
        return [conditions]
    return [(one,) for one in conditions]


def _exported(calls: ctypes.CDLL, context: int) -> bytes:
    fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    try:
        result = calls.seccomp_export_bpf(context, fd)
        if result:
            raise InvalidArgument(f"seccomp: the profile can't be compiled: {os.strerror(-result)}")
        return os.pread(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)
