"""cgroup version 2 (Documentation/admin-guide/cgroup-v2.rst in the kernel)."""

from __future__ import annotations

import errno
import time
from typing import Any

from pinnace.linux.cgroups import device_filter
from pinnace.linux.cgroups.base import (
    Cgroup,
    Unsupported,
    make,
    number,
    pairs,
    read,
    unsupported,
    write,
)
from pinnace.linux.cgroups.entry import Entry


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

    def apply(self, resources: dict[str, Any]) -> None:
        for controller, name, value in settings(resources):
            self._write(controller, name, value)
        if resources.get("devices") and self.limits_devices():
            device_filter.attach(self.directory, resources["devices"])

    def _write(self, controller: str, name: str, value: str) -> None:
        available = read(self.directory, "cgroup.controllers").split()
        if controller and controller not in available:
            if value == "max":
                return  # no controller, no limit: that is what was asked for
            raise unsupported(controller, name)
        write(self.directory, name, value)

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

    def kill(self) -> None:
        try:
            write(self.directory, "cgroup.kill", "1")  # kernel 5.14
        except OSError:
            super().kill()

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


def settings(resources: dict[str, Any]) -> list[tuple[str, str, str]]:
    """OCI resources, whose units are version 1's, as (controller, file, value) of version 2."""
    result = _memory(resources.get("memory") or {}) + _cpu(resources.get("cpu") or {})
    limit = (resources.get("pids") or {}).get("limit")
    if limit is not None:
        result.append(("pids", "pids.max", str(limit) if limit > 0 else "max"))
    result += _io_settings(resources.get("blockIO") or {})
    for item in resources.get("hugepageLimits") or ():
        result.append(("hugetlb", f"hugetlb.{item['pageSize']}.max", str(item["limit"])))
    for name, value in (resources.get("unified") or {}).items():
        if "/" in name:
            raise Unsupported(f"unified resource {name!r} is not the name of a control file")
        controller = name.partition(".")[0]
        result.append(("" if controller == "cgroup" else controller, name, str(value)))
    return result


def _memory(memory: dict[str, Any]) -> list[tuple[str, str, str]]:
    result = []
    limit, swap = memory.get("limit"), memory.get("swap")
    if swap:
        # Version 1 counts memory and swap together; version 2 counts swap alone.
        if swap > 0 and (limit or 0) <= 0:
            raise Unsupported("a swap limit needs a memory limit too")
        alone = "max" if swap < 0 else str(swap - int(limit or 0))
        result.append(("memory", "memory.swap.max", alone))
    if limit:
        result.append(("memory", "memory.max", "max" if limit < 0 else str(limit)))
    if memory.get("reservation"):
        result.append(("memory", "memory.low", str(memory["reservation"])))
    return result


def _cpu(cpu: dict[str, Any]) -> list[tuple[str, str, str]]:
    result = []
    if cpu.get("shares"):
        result.append(("cpu", "cpu.weight", str(weight_of_shares(cpu["shares"]))))
    quota, period = cpu.get("quota"), cpu.get("period")
    if quota or period:
        first = str(quota) if quota and quota > 0 else "max"
        result.append(("cpu", "cpu.max", f"{first} {period or 100000}"))
    for key, controller, name in (
        ("burst", "cpu", "cpu.max.burst"),
        ("idle", "cpu", "cpu.idle"),
        ("cpus", "cpuset", "cpuset.cpus"),
        ("mems", "cpuset", "cpuset.mems"),
    ):
        if cpu.get(key):
            result.append((controller, name, str(cpu[key])))
    return result


def weight_of_shares(shares: int) -> int:
    """cpu.shares (2 to 262144) on cpu.weight's scale (1 to 10000), as runc and crun map it."""
    return 1 + (max(2, min(shares, 262144)) - 2) * 9999 // 262142


def _io_settings(block_io: dict[str, Any]) -> list[tuple[str, str, str]]:
    result = []
    if block_io.get("weight"):
        weight = 1 + (block_io["weight"] - 10) * 9999 // 990
        result.append(("io", "io.weight", f"default {weight}"))
    for key, word in (
        ("throttleReadBpsDevice", "rbps"),
        ("throttleWriteBpsDevice", "wbps"),
        ("throttleReadIOPSDevice", "riops"),
        ("throttleWriteIOPSDevice", "wiops"),
    ):
        for device in block_io.get(key) or ():
            rule = f"{device['major']}:{device['minor']} {word}={device['rate']}"
            result.append(("io", "io.max", rule))
    return result


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
