"""How the kernel schedules the calling thread: processor time, disk, memory nodes, personality.

Words are those of the OCI runtime specification (config.md "Process", config-linux.md), which are the
kernel's constants. Every function raises ValueError for a word that is none, naming it, and OSError when
the kernel refuses. Imported only for a configuration that asks for one of these.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

from pinnace.linux import libc

POLICIES = {
    "SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_ISO": 4,
    "SCHED_IDLE": 5, "SCHED_DEADLINE": 6,
}  # fmt: skip
FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01, "SCHED_FLAG_RECLAIM": 0x02, "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08, "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20, "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}  # fmt: skip
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
DOMAINS = {"LINUX": 0, "LINUX32": 8}
MEMORY_MODES = {
    "MPOL_DEFAULT": 0, "MPOL_PREFERRED": 1, "MPOL_BIND": 2, "MPOL_INTERLEAVE": 3, "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5, "MPOL_WEIGHTED_INTERLEAVE": 6,
}  # fmt: skip
MEMORY_FLAGS = {
    "MPOL_F_NUMA_BALANCING": 1 << 13, "MPOL_F_RELATIVE_NODES": 1 << 14,
    "MPOL_F_STATIC_NODES": 1 << 15,
}  # fmt: skip

_IOPRIO_CLASS_SHIFT = 13
_MAX_ID = 4095  # more processors or nodes than any board has; bounds a hostile list


_NUMBERS = {
    ("x86", 8): (314, 251, 238), ("x86", 4): (351, 289, 276),
    ("arm", 8): (274, 30, 237), ("arm", 4): (380, 314, 321),
}  # fmt: skip
"""sched_setattr, ioprio_set, set_mempolicy, which have no C library function, by the program's
architecture and the size of its pointers (the kernel's system call tables)."""

_SETATTR, _IOPRIO, _MEMPOLICY = _NUMBERS[
    "x86" if "86" in os.uname().machine else "arm", struct.calcsize("P")
]


def set_scheduler(
    policy: str, *, nice: int = 0, priority: int = 0, flags: Iterable[str] = (),
    runtime: int = 0, deadline: int = 0, period: int = 0,
) -> None:  # fmt: skip
    """sched_setattr(2); ``runtime``, ``deadline`` and ``period`` in nanoseconds."""
    bits = _bits(flags, FLAGS, "scheduler flag")
    content = struct.pack(
        "=IIQiIQQQ", 48, _number(policy, POLICIES, "scheduler policy"), bits, nice, priority,
        runtime, deadline, period,
    )  # fmt: skip
    libc.syscall("sched_setattr", _SETATTR, 0, ctypes.create_string_buffer(content, 48), 0)


def set_io_priority(kind: str, level: int) -> None:
    """ioprio_set(2) for the calling thread; ``level`` 0 (first served) to 7."""
    if not 0 <= level <= 7:
        raise ValueError(f"I/O priority {level} is not between 0 and 7")
    value = _number(kind, IO_CLASSES, "I/O class") << _IOPRIO_CLASS_SHIFT | level
    libc.syscall("ioprio_set", _IOPRIO, 1, 0, value)


def set_personality(domain: str) -> None:
    """personality(2): what uname shows, and layout rules of older systems."""
    libc.call("personality", _number(domain, DOMAINS, "personality domain"), about=domain)


def set_memory_policy(mode: str, nodes: str, flags: Iterable[str] = ()) -> None:
    """set_mempolicy(2): ``nodes`` as ``0-3,7``."""
    number = _number(mode, MEMORY_MODES, "memory policy") | _bits(flags, MEMORY_FLAGS, "flag")
    wanted = ids(nodes)
    if not wanted:
        libc.syscall("set_mempolicy", _MEMPOLICY, number, None, 0, about=mode)
        return
    mask = sum(1 << node for node in wanted)
    size = (max(wanted) // 64 + 1) * 8
    buffer = ctypes.create_string_buffer(mask.to_bytes(size, "little"), size)
    # The kernel takes one bit less than it is told of (set_mempolicy(2), BUGS of get_mempolicy).
    libc.syscall("set_mempolicy", _MEMPOLICY, number, buffer, size * 8 + 1, about=mode)


def ids(text: str) -> set[int]:
    """The numbers of a list like ``0-3,7`` (cpuset(7), "List format")."""
    found: set[int] = set()
    for part in text.split(",") if text.strip() else ():
        first, dash, last = part.strip().partition("-")
        try:
            start, end = int(first), int(last if dash else first)
        except ValueError:
            raise ValueError(f"{text!r} is not a list like 0-3,7") from None
        if not 0 <= start <= end <= _MAX_ID:
            raise ValueError(f"{text!r} is not a list of numbers up to {_MAX_ID}")
        found.update(range(start, end + 1))
    return found


def _number(word: str, table: dict[str, int], what: str) -> int:
    if word not in table:
        raise ValueError(f"unknown {what} {word!r}")
    return table[word]


def _bits(words: Iterable[str], table: dict[str, int], what: str) -> int:
    bits = 0
    for word in words:
        bits |= _number(word, table, what)
    return bits
