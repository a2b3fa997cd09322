"""What the process that becomes a container's, or joins one, has to know of it."""

from __future__ import annotations

import os
import socket
from typing import Any

from pinnace.linux.cgroups import Cgroup, Entry
from pinnace.linux.kernel import Kernel
from pinnace.runc import scheduling
from pinnace.runc.channel import Channel
from pinnace.runc.labels import Labels
from pinnace.runc.namespaces import Plan
from pinnace.runc.process import Privileges
from pinnace.runc.waiting import WaitingInit

FIRST_OTHER = 3  # descriptors after standard input, output and error


class Launch:
    """Everything the stages need; made by the creator, inherited through fork."""

    __slots__ = (
        "affinity",
        "bundle",
        "by_user",
        "cgroup",
        "channel",
        "entry",
        "is_attended",
        "kernel",
        "keyring",
        "labels",
        "later_groups",
        "listener",
        "no_devices",
        "pivot",
        "plan",
        "preserved",
        "privileges",
        "process",
        "program",
        "scheduling",
        "spec",
        "stdio",
        "told",
        "trees",
        "waiting",
    )  # fmt: skip

    def __init__(
        self, kernel: Kernel, spec: dict[str, Any], bundle: str, channel: Channel,
        privileges: Privileges, stdio: tuple[int, int, int] | None,
    ) -> None:  # fmt: skip
        self.kernel = kernel
        self.spec = spec
        self.bundle = bundle
        self.process: dict[str, Any] = spec["process"]
        self.affinity = scheduling.Affinity(self.process)
        self.scheduling = scheduling.prepare(self.process, spec.get("linux") or {})
        self.labels = Labels(self.process, spec.get("linux") or {})
        self.channel = channel
        self.privileges = privileges
        self.stdio = stdio  # None for a terminal
        self.by_user = os.geteuid() != 0  # rootless
        self.told: dict[str, Any] = {}  # the state that hooks are told
        self.trees: dict[int, int] = {}  # descriptors of idmapped mounts, see mapped.py
        self.preserved = 0
        self.no_devices = False  # the root is mounted nodev
        self.pivot = True  # or the root is moved there: a root in the initial ramdisk can't pivot
        self.keyring = True  # a new session keyring
        self.plan: Plan | None = None
        self.listener: socket.socket | None = None
        self.cgroup: Cgroup | None = None
        self.entry: Entry | None = None
        self.later_groups = 0  # of version 1, handed over when they are made; not in ``entry``
        self.is_attended = True  # in its namespaces, by its creator: hooks, network devices
        self.program = -1  # a descriptor of the native init, when it was executed from there
        self.waiting: WaitingInit | None = None  # a native init that was started beforehand

    def needed(self) -> list[int]:
        """Every descriptor that the stages need, but for those of namespaces."""
        needed = [0, 1, 2, self.channel.socket.fileno(), *(self.stdio or ())]
        needed += range(FIRST_OTHER, self.first_other())
        if self.listener is not None:
            needed.append(self.listener.fileno())
        if self.entry is not None:
            needed += self.entry.fds()
        return [*needed, *self.trees.values()]

    def close_program(self) -> None:
        """Let go of it, at a time when nobody waits: the kernel takes a while to take a mount apart."""
        if self.program >= 0:
            os.close(self.program)
        self.program = -1

    def first_other(self) -> int:
        """The first descriptor that the program does not get."""
        return FIRST_OTHER + self.preserved
