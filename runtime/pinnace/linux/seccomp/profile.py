"""A seccomp profile of the OCI configuration (config-linux.md, "Seccomp"), checked and in numbers.

Numbers are those of include/uapi/linux/seccomp.h, and libseccomp's tokens where they differ. A profile
that says less than its author may think (an unknown operator, a value that is no number) is refused;
names of system calls that nobody knows yet, and architectures of other processors, are not.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pinnace.errors import InvalidArgument

KILL_THREAD, KILL_PROCESS, TRAP, ERRNO = 0, 0x80000000, 0x30000, 0x50000
NOTIFY, TRACE, LOG, ALLOW = 0x7FC00000, 0x7FF00000, 0x7FFC0000, 0x7FFF0000

ACTIONS = {
    "SCMP_ACT_KILL": KILL_THREAD, "SCMP_ACT_KILL_THREAD": KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": KILL_PROCESS, "SCMP_ACT_TRAP": TRAP, "SCMP_ACT_ERRNO": ERRNO,
    "SCMP_ACT_TRACE": TRACE, "SCMP_ACT_ALLOW": ALLOW, "SCMP_ACT_LOG": LOG,
    "SCMP_ACT_NOTIFY": NOTIFY,
}  # fmt: skip
"""Action name: what the filter returns, without the 16 bits of data that ERRNO and TRACE have."""

OPERATORS = {
    "SCMP_CMP_NE": 1, "SCMP_CMP_LT": 2, "SCMP_CMP_LE": 3, "SCMP_CMP_EQ": 4, "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6, "SCMP_CMP_MASKED_EQ": 7,
}  # fmt: skip
"""Operator name: libseccomp's number (enum scmp_compare)."""

FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 0x01, "SECCOMP_FILTER_FLAG_LOG": 0x02,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 0x04, "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 0x20,
}  # fmt: skip
NEW_LISTENER = 0x08
TSYNC_ESRCH = 0x10

# Audit numbers (include/uapi/linux/audit.h): machine, 64 bits, little endian.
_WIDE, _LITTLE = 0x80000000, 0x40000000
ARCHITECTURES = {
    "SCMP_ARCH_X86": _LITTLE | 3, "SCMP_ARCH_X86_64": _WIDE | _LITTLE | 62,
    "SCMP_ARCH_X32": _LITTLE | 62, "SCMP_ARCH_ARM": _LITTLE | 40,
    "SCMP_ARCH_AARCH64": _WIDE | _LITTLE | 183, "SCMP_ARCH_MIPS": 8,
    "SCMP_ARCH_MIPS64": _WIDE | 8, "SCMP_ARCH_MIPS64N32": _WIDE | 0x20000000 | 8,
    "SCMP_ARCH_MIPSEL": _LITTLE | 8, "SCMP_ARCH_MIPSEL64": _WIDE | _LITTLE | 8,
    "SCMP_ARCH_MIPSEL64N32": _WIDE | _LITTLE | 0x20000000 | 8, "SCMP_ARCH_PPC": 20,
    "SCMP_ARCH_PPC64": _WIDE | 21, "SCMP_ARCH_PPC64LE": _WIDE | _LITTLE | 21,
    "SCMP_ARCH_S390": 22, "SCMP_ARCH_S390X": _WIDE | 22, "SCMP_ARCH_PARISC": 15,
    "SCMP_ARCH_PARISC64": _WIDE | 15, "SCMP_ARCH_RISCV64": _WIDE | _LITTLE | 243,
    "SCMP_ARCH_LOONGARCH64": _WIDE | _LITTLE | 258, "SCMP_ARCH_M68K": 4, "SCMP_ARCH_SH": _LITTLE | 42,
    "SCMP_ARCH_SHEB": 42,
}  # fmt: skip
"""Names of the OCI specification: libseccomp's tokens, which are audit numbers but for x32's."""

_DATA = 0xFFFF
_DEFAULT_ERRNO = 1  # EPERM
_MAX_METADATA = 32 << 10  # bytes; it travels in one record beside its descriptor


class Condition(NamedTuple):
    """One comparison of an argument; for MASKED_EQ ``value`` is the mask and ``other`` what is left."""

    argument: int
    operator: int
    value: int
    other: int


class Rule(NamedTuple):
    """An action for calls by name; all ``conditions`` must hold."""

    names: tuple[str, ...]
    action: int
    conditions: tuple[Condition, ...]


class Profile:
    """A whole profile."""

    __slots__ = ("architectures", "default", "flags", "listener", "metadata", "rules")

    def __init__(self, shape: dict[str, Any]) -> None:
        """Raises InvalidArgument naming what is wrong."""
        self.default = _action(shape, "defaultAction", "defaultErrnoRet")
        self.architectures = tuple(_architecture(name) for name in shape.get("architectures") or ())
        self.rules = tuple(_rule(item) for item in shape.get("syscalls") or ())
        # A profile that names no flags doesn't mean to slow its container down (runc's default).
        given = shape.get("flags")
        self.flags = FLAGS["SECCOMP_FILTER_FLAG_SPEC_ALLOW"] if given is None else _flags(given)
        self.listener = str(shape.get("listenerPath") or "")
        self.metadata = str(shape.get("listenerMetadata") or "")
        if self.notifies and not self.listener:
            raise InvalidArgument("seccomp: SCMP_ACT_NOTIFY needs linux.seccomp.listenerPath")
        if self.metadata and not self.listener:
            raise InvalidArgument("seccomp: listenerMetadata without a listenerPath")
        if len(self.metadata.encode()) > _MAX_METADATA:
            raise InvalidArgument(f"seccomp: listenerMetadata is larger than {_MAX_METADATA} bytes")

    @property
    def actions(self) -> set[int]:
        """Every action it uses, without data."""
        return {each & ~_DATA for each in (self.default, *(rule.action for rule in self.rules))}

    @property
    def notifies(self) -> bool:
        """Whether some call is decided by a supervisor."""
        return NOTIFY in self.actions

    def kernel_flags(self) -> int:
        """The flags for seccomp(2)."""
        if not self.notifies:
            return self.flags
        together = TSYNC_ESRCH if self.flags & FLAGS["SECCOMP_FILTER_FLAG_TSYNC"] else 0
        return self.flags | NEW_LISTENER | together

    def names(self) -> set[str]:
        """Every system call that some rule names."""
        return {name for rule in self.rules for name in rule.names}

    def canonical(self) -> list[Any]:
        """What decides the compiled program, as JSON: nothing else does."""
        return [self.default, sorted(set(self.architectures)), [list(rule) for rule in self.rules]]


def action_name(action: int) -> str:
    """The OCI name of an action."""
    return next(name for name, value in ACTIONS.items() if value == action & ~_DATA)


def _action(shape: dict[str, Any], key: str, data_key: str) -> int:
    name = shape.get(key)
    action = ACTIONS.get(str(name))
    if action is None:
        raise InvalidArgument(f"seccomp: {key} {name!r} is not supported")
    data = shape.get(data_key)
    if action not in (ERRNO, TRACE):
        if data is not None and key == "action":
            raise InvalidArgument(f"seccomp: {name} takes no {data_key}")
        return action
    number = _DEFAULT_ERRNO if data is None else _number(data, data_key)
    if number > _DATA:
        raise InvalidArgument(f"seccomp: {data_key} {number} is larger than {_DATA}")
    return action | number


def _architecture(name: object) -> int:
    token = ARCHITECTURES.get(str(name))
    if token is None:
        raise InvalidArgument(f"seccomp: architecture {name!r} is not known")
    return token


def _flags(names: Any) -> int:
    flags = 0
    for name in names:
        if name not in FLAGS:
            raise InvalidArgument(f"seccomp: flag {name!r} is not known")
        flags |= FLAGS[name]
    return flags


def _rule(item: Any) -> Rule:
    names = item.get("names") if isinstance(item, dict) else None
    if not names or not all(isinstance(name, str) for name in names):
        raise InvalidArgument("seccomp: a rule names no system call")
    conditions = tuple(_condition(one) for one in item.get("args") or ())
    return Rule(tuple(names), _action(item, "action", "errnoRet"), conditions)


def _condition(item: dict[str, Any]) -> Condition:
    operator = OPERATORS.get(str(item.get("op")))
    if operator is None:
        raise InvalidArgument(f"seccomp: operator {item.get('op')!r} is not known")
    index = _number(item.get("index") or 0, "index")
    if index > 5:
        raise InvalidArgument(f"seccomp: a system call has no argument {index}")
    value, other = (_number(item.get(key) or 0, key) for key in ("value", "valueTwo"))
    return Condition(index, operator, value, other)


def _number(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 64:
        raise InvalidArgument(f"seccomp: {what} {value!r} is not an unsigned number")
    return value
