"""cgroup version 2 (Documentation/admin-guide/cgroup-v2.rst in the kernel)."""

from __future__ import annotations

import errno
import time
from typing import Any

from pinnace.linux.cgroups import device_filter, v2_settings
from pinnace.linux.cgroups.base import Cgroup, make, number, pairs, read
from pinnace.linux.cgroups.entry import Entry
from pinnace.linux.cgroups.setting import Setting, write


class UnifiedCgroup(Cgroup):
    """One directory below the unified hierarchy mounted at ``root``."""

    version = 2

    def __init__(self, path: str, root: str) -> None:
        super().__init__(path)
        self.root = self.unified_root = root
        self.directory = root + path

    def directories(self) -> list[str]:
        return [self.directory]

    def entry(self) -> Entry:
        return Entry([], self.directory)

    def join_unified(self, pid: int) -> None:
        write(self.directory, "cgroup.procs", str(pid))

    def create(self) -> None:
        """Make every level, handing each the controllers of the one above."""
        place = self.root
        for part in self.path.strip("/").split("/"):
            _enable_controllers(place)
            place = f"{place}/{part}"
            make(place)

    def placed(self, resources: dict[str, Any]) -> list[tuple[str, Setting]]:
        available = [*self.read("cgroup.controllers").split(), ""]
        return [
            (self.directory if setting.controller in available else "", setting)
            for setting in v2_settings.settings(resources, self.read)
        ]

    def read(self, file: str) -> str:
        """A control file as it is."""
        return read(self.directory, file)

    def apply_devices(self, rules: list[dict[str, Any]]) -> None:
        if rules and self.limits_devices():
            device_filter.attach(self.directory, rules)

    def limits_devices(self) -> bool:
        return device_filter.is_available()

    def freeze(self, frozen: bool) -> None:
        write(self.directory, "cgroup.freeze", "1" if frozen else "0")
        for _ in range(2000):
            if pairs(self.directory, "cgroup.events").get("frozen", 0) == int(frozen):
                return
            time.sleep(0.001)
        write(self.directory, "cgroup.freeze", "0")
        raise OSError(errno.ETIMEDOUT, "the kernel did not freeze it", self.directory)

    def is_frozen(self) -> bool:
        return self.read("cgroup.freeze").strip() == "1"

    def kill(self) -> None:
        try:
            write(self.directory, "cgroup.kill", "1")  # kernel 5.14
        except OSError:
            super().kill()

    def memory_in_use(self) -> int:
        return number(self.directory, "memory.current")

    def oom_kills(self) -> int:
        return pairs(self.directory, "memory.events").get("oom_kill", 0)

    def stats(self) -> dict[str, Any]:
        place = self.directory
        memory: dict[str, Any] = dict(pairs(place, "memory.stat"))
        memory["usage"] = number(place, "memory.current")
        memory["usage_limit"] = number(place, "memory.max")
        memory["max_usage"] = number(place, "memory.peak")
        memory["swap_usage"] = number(place, "memory.swap.current")
        memory["swap_limit"] = number(place, "memory.swap.max")
        return {
            "cgroup": 2,
            "pids": {"current": number(place, "pids.current"), "limit": number(place, "pids.max")},
            "cpu": pairs(place, "cpu.stat"),
            "memory": memory,
            "memory_events": pairs(place, "memory.events"),
            "io": {"usage": _io(place)},
        }


def _enable_controllers(directory: str) -> None:
    """Hand every controller of ``directory`` to its children; one that cannot be is left out."""
    have = read(directory, "cgroup.subtree_control").split()
    missing = [word for word in read(directory, "cgroup.controllers").split() if word not in have]
    for controller in missing:
        try:
            write(directory, "cgroup.subtree_control", f"+{controller}")
        except OSError as problem:
            if problem.errno not in (errno.EBUSY, errno.EINVAL, errno.ENOENT, errno.EOPNOTSUPP):
                raise


def _io(directory: str) -> list[dict[str, int]]:
    entries = []
    for line in read(directory, "io.stat").splitlines():
        device, *words = line.split()
        major, _, minor = device.partition(":")
        counts = {key: int(value) for key, _, value in (word.partition("=") for word in words)}
        entries.append(
            {
                "major": int(major),
                "minor": int(minor),
                **{key: counts.get(key, 0) for key in ("rbytes", "wbytes", "rios", "wios")},
            }
        )
    return entries
