"""Linux capabilities by name, and dropping to a container's five sets.

Numbers are those of include/uapi/linux/capability.h; the position in ``NAMES`` is the number.
"""

from __future__ import annotations

from collections.abc import Iterable

from pinnace.linux.kernel import (
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_CAP_AMBIENT_RAISE,
    PR_CAPBSET_DROP,
    Kernel,
)

NAMES: tuple[str, ...] = tuple(
    "CAP_" + name
    for name in [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ]
)
_NUMBERS = {name: number for number, name in enumerate(NAMES)}
SETS = ("bounding", "effective", "inheritable", "permitted", "ambient")


def mask(names: list[str] | tuple[str, ...]) -> int:
    """Bit mask of capability names. Raises ValueError with the first name that is none."""
    bits = 0
    for name in names:
        if name not in _NUMBERS:
            raise ValueError(f"unknown capability {name!r}")
        bits |= 1 << _NUMBERS[name]
    return bits


def known(names: Iterable[str]) -> list[str]:
    """Those of ``names`` that are capabilities."""
    return [name for name in names if name in _NUMBERS]


def names(bits: int) -> list[str]:
    """Names of the capabilities set in ``bits``; numbers newer than this table are left out."""
    return [name for number, name in enumerate(NAMES) if bits >> number & 1]


def held() -> tuple[int, int]:
    """The permitted and the bounding set of this process, as /proc/self/status shows them."""
    with open("/proc/self/status", "rb", buffering=0) as status:
        content = status.read()
    found = dict(line.split(b":", 1) for line in content.splitlines() if line.startswith(b"Cap"))
    return int(found.get(b"CapPrm", b"0"), 16), int(found.get(b"CapBnd", b"0"), 16)


def available() -> int:
    """What this process may give away: permitted, and not dropped from the bounding set."""
    permitted, bounding = held()
    return permitted & bounding


def every() -> int:
    """Every capability that this kernel has, those newer than ``NAMES`` included."""
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
        return (2 << int(file.read())) - 1


def drop_bounding(kernel: Kernel, keep: int, held: int) -> None:
    """Drop from the bounding set what is in ``held`` and not in ``keep``; needs CAP_SETPCAP."""
    for number in range(64):
        if held >> number & 1 and not keep >> number & 1:
            kernel.prctl(PR_CAPBSET_DROP, number)


def apply(kernel: Kernel, effective: int, permitted: int, inheritable: int, ambient: int) -> None:
    """Set the thread's sets, the ambient one last: it is limited by the other two."""
    kernel.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    kernel.capset(effective, permitted, inheritable)
    for number in range(64):
        if (ambient & permitted & inheritable) >> number & 1:
            kernel.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number)
