"""Seccomp filters of the OCI configuration, compiled by libseccomp through ctypes.

System calls that a profile does not know are refused as the profile says; libseccomp is loaded
only when a profile is used, because the library is missing on small systems and the call is
refused by emulators.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from typing import Any

from pinnace.errors import FailedPrecondition, InvalidArgument

_ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000, "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000, "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000, "SCMP_ACT_TRACE": 0x7FF00000, "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}  # fmt: skip
_OPERATORS = {
    "SCMP_CMP_NE": 1, "SCMP_CMP_LT": 2, "SCMP_CMP_LE": 3, "SCMP_CMP_EQ": 4, "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6, "SCMP_CMP_MASKED_EQ": 7,
}  # fmt: skip
# Audit numbers by the names of the OCI specification (include/uapi/linux/audit.h).
_ARCHITECTURES = {
    "SCMP_ARCH_X86": 0x40000003, "SCMP_ARCH_X86_64": 0xC000003E, "SCMP_ARCH_X32": 0x4000003E,
    "SCMP_ARCH_ARM": 0x40000028, "SCMP_ARCH_AARCH64": 0xC00000B7,
}  # fmt: skip
_ATTRIBUTE_NO_NEW_PRIVS = 3
_NO_SUCH_CALL = -1


class _Comparison(ctypes.Structure):
    """struct scmp_arg_cmp of seccomp.h."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


class Filter:
    """A compiled profile. Build it while files can still be opened, ``load`` it last."""

    def __init__(self, profile: dict[str, Any]) -> None:
        """Raises InvalidArgument for a wrong profile, FailedPrecondition without libseccomp."""
        self._library = _library()
        default = _action(profile.get("defaultAction"), profile.get("defaultErrnoRet"))
        self._context = self._library.seccomp_init(ctypes.c_uint32(default))
        if not self._context:
            raise InvalidArgument(f"seccomp: defaultAction {profile.get('defaultAction')!r}")
        self._set(_ATTRIBUTE_NO_NEW_PRIVS, 0)
        for name in profile.get("architectures") or ():
            self._add_architecture(str(name))
        for rule in profile.get("syscalls") or ():
            action = _action(rule.get("action"), rule.get("errnoRet"))
            if action != default:
                for name in rule.get("names") or ():
                    self._add(str(name), action, rule.get("args") or [])

    def load(self) -> None:
        """Apply it to the calling thread, for good. Raises FailedPrecondition when refused."""
        result = self._library.seccomp_load(self._context)
        if result:
            raise FailedPrecondition(
                f"seccomp filter refused: {os.strerror(-result)}",
                hint="this kernel or emulator has no seccomp: run the container without a profile",
            )

    def _set(self, attribute: int, value: int) -> None:
        self._library.seccomp_attr_set(self._context, attribute, ctypes.c_uint32(value))

    def _add_architecture(self, name: str) -> None:
        token = _ARCHITECTURES.get(name)
        if token is None:
            return  # of another family: no program of it can run here
        result = self._library.seccomp_arch_add(self._context, ctypes.c_uint32(token))
        if result and -result not in (errno.EEXIST, errno.EDOM, errno.EINVAL):
            raise InvalidArgument(f"seccomp: architecture {name}: {os.strerror(-result)}")

    def _add(self, name: str, action: int, arguments: list[dict[str, Any]]) -> None:
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        if number == _NO_SUCH_CALL:
            return  # newer than the library: stays with the default action
        comparisons = (_Comparison * max(1, len(arguments)))(*[_compare(one) for one in arguments])
        result = self._library.seccomp_rule_add_array(
            self._context, ctypes.c_uint32(action), number, len(arguments), comparisons
        )
        if result and -result not in (errno.EDOM, errno.EFAULT):
            raise InvalidArgument(f"seccomp: rule for {name}: {os.strerror(-result)}")


def _action(name: object, number: object) -> int:
    action = _ACTIONS.get(str(name))
    if action is None:
        raise InvalidArgument(f"seccomp: action {name!r} is not supported")
    if name in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
        return action | (int(str(number)) if number is not None else errno.EPERM) & 0xFFFF
    return action


def _compare(argument: dict[str, Any]) -> _Comparison:
    operator = _OPERATORS.get(str(argument.get("op")))
    if operator is None:
        raise InvalidArgument(f"seccomp: operator {argument.get('op')!r} is not known")
    first, second = int(argument.get("value") or 0), int(argument.get("valueTwo") or 0)
    return _Comparison(int(argument.get("index") or 0), operator, first, second)


def _library() -> ctypes.CDLL:
    with contextlib.suppress(OSError):
        library = ctypes.CDLL("libseccomp.so.2")
        library.seccomp_init.restype = ctypes.c_void_p
        library.seccomp_load.argtypes = [ctypes.c_void_p]
        library.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
        library.seccomp_arch_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
        library.seccomp_rule_add_array.argtypes = [
            ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint,
            ctypes.POINTER(_Comparison),
        ]  # fmt: skip
        return library
    raise FailedPrecondition(
        "a seccomp profile needs libseccomp.so.2", hint="install the package libseccomp2"
    )
