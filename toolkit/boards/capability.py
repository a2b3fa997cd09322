"""What a board can show: the words by which tests say what they need and boards what they have.

A test that needs one of these is run on a board whose :attr:`~toolkit.boards.board.Board.shows` has it.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from toolkit.errors import UsageError

SECCOMP: Final = "seccomp"
NETFILTER: Final = "netfilter"
USER_NAMESPACES: Final = "user-namespaces"
CLONE_NAMESPACES: Final = "clone-namespaces"
PTRACE: Final = "ptrace"
BPF: Final = "bpf"
KEYCTL: Final = "keyctl"
IO_URING: Final = "io-uring"
SANDBOXING: Final = "sandboxing"
CGROUP2: Final = "cgroup2"
MEMORY_LIMIT: Final = "memory-limit"
PIDS_LIMIT: Final = "pids-limit"
OWN_KERNEL: Final = "own-kernel"
KERNEL_CMDLINE: Final = "kernel-cmdline"
POWER_CUT: Final = "power-cut"
SNAPSHOT: Final = "snapshot"
CONSOLE: Final = "console"

MEANING: Final = MappingProxyType(
    {
        SECCOMP: "system calls are filtered by seccomp",
        NETFILTER: "nft and iptables load rules, which the kernel keeps to",
        USER_NAMESPACES: "user namespaces can be made and joined",
        CLONE_NAMESPACES: "clone() takes namespace flags",
        PTRACE: "a process can trace another",
        BPF: "BPF programs can be loaded",
        KEYCTL: "kernel keyrings",
        IO_URING: "io_uring",
        SANDBOXING: "systemd's sandboxing of services is on",
        CGROUP2: "cgroup version 2 with cpu, io, memory and pids",
        MEMORY_LIMIT: "a memory limit really kills",
        PIDS_LIMIT: "a limit of processes refuses the next one, and nothing else happens",
        OWN_KERNEL: "a kernel of the processor's own: modules, sysctls, devices, the clock",
        KERNEL_CMDLINE: "a kernel command line of its own, and a reboot that reads it",
        POWER_CUT: "its power can be cut: what was not synced is lost",
        SNAPSHOT: "the running board can be kept and restored",
        CONSOLE: "a serial console from the first kernel message on",
    }
)
"""Every word, and what is true on a board that shows it."""

FULL_SYSTEM: Final = frozenset(MEANING)
"""What a machine of its own shows, a full-system board or real hardware under a lab's control."""

REAL_BOARD: Final = FULL_SYSTEM - {POWER_CUT, SNAPSHOT, CONSOLE}
"""What real hardware shows that is only reached over the network."""


def checked(words: frozenset[str]) -> frozenset[str]:
    """``words``, or a :class:`UsageError` for the first that no board could ever show."""
    for word in sorted(words - MEANING.keys()):
        raise UsageError(f"no board shows {word!r}", hint=f"one of: {', '.join(sorted(MEANING))}")
    return words
