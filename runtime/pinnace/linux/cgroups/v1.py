"""cgroup version 1, alone or with a version 2 hierarchy beside it that holds no controllers.

File names are those of Documentation/admin-guide/cgroup-v1 in the kernel.
"""

from __future__ import annotations

import errno
import os
import time
from typing import Any

from pinnace.linux.cgroups.base import (
    Cgroup,
    Unsupported,
    kill_quietly,
    make,
    number,
    pairs,
    read,
    unsupported,
    write,
)
from pinnace.linux.cgroups.entry import Entry

_BLKIO_LISTS = {
    "throttleReadBpsDevice": "blkio.throttle.read_bps_device",
    "throttleWriteBpsDevice": "blkio.throttle.write_bps_device",
    "throttleReadIOPSDevice": "blkio.throttle.read_iops_device",
    "throttleWriteIOPSDevice": "blkio.throttle.write_iops_device",
}
# The kernel's names where those of containerd's metrics differ.
_MEMORY_NAMES = {
    "pgpgin": "pg_pg_in", "pgpgout": "pg_pg_out", "pgfault": "pg_fault",
    "pgmajfault": "pg_maj_fault", "hierarchical_memsw_limit": "hierarchical_swap_limit",
}  # fmt: skip
_BLKIO_STATS = {
    "io_service_bytes_recursive": "blkio.throttle.io_service_bytes_recursive",
    "io_serviced_recursive": "blkio.throttle.io_serviced_recursive",
}


class LegacyCgroup(Cgroup):
    """One directory per hierarchy; controllers mounted together share theirs."""

    version = 1

    def __init__(self, path: str, hierarchies: dict[str, str], unified: str = "") -> None:
        super().__init__(path)
        self.hierarchies = hierarchies  # controller (or name=systemd) to mount point
        self.unified_root = unified

    def directory(self, controller: str) -> str:
        """The group's directory for ``controller``; empty when it is not mounted."""
        mounted = self.hierarchies.get(controller, "")
        return mounted + self.path if mounted else ""

    def directories(self) -> list[str]:
        roots = list(dict.fromkeys(self.hierarchies.values()))
        if self.unified_root:
            roots.append(self.unified_root)
        return [root + self.path for root in roots]

    def entry(self) -> Entry:
        # The memory of a process is charged where it is when it uses it: the shorter it is there
        # before it becomes the program, the smaller a limit can be.
        mounted = list(dict.fromkeys(self.hierarchies.values()))
        mounted.sort(key=lambda place: place == self.hierarchies.get("memory"))
        unified = self.unified_root + self.path if self.unified_root else ""
        return Entry([place + self.path for place in mounted], unified)

    def join_unified(self, pid: int) -> None:
        if self.unified_root:
            write(self.unified_root + self.path, "cgroup.procs", str(pid))

    def create(self) -> None:
        for directory in self.directories():
            make(directory)
        if "cpuset" in self.hierarchies:
            self._inherit_cpuset()

    def _inherit_cpuset(self) -> None:
        """An empty cpuset takes no process: fill each level from the one above it."""
        place = self.hierarchies["cpuset"]
        for part in self.path.strip("/").split("/"):
            above, place = place, f"{place}/{part}"
            for name in ("cpuset.cpus", "cpuset.mems"):
                if not read(place, name).strip():
                    write(place, name, read(above, name).strip())

    def apply(self, resources: dict[str, Any]) -> None:
        self._apply_memory(resources.get("memory") or {})
        self._apply_cpu(resources.get("cpu") or {})
        self._apply_pids(resources.get("pids") or {})
        self._apply_block_io(resources.get("blockIO") or {})
        for limit in resources.get("hugepageLimits") or ():
            name = f"hugetlb.{limit['pageSize']}.limit_in_bytes"
            self._write("hugetlb", name, limit["limit"])
        self._apply_devices(resources.get("devices") or [])

    def _write(self, controller: str, name: str, value: object) -> None:
        directory = self.directory(controller)
        if not directory:
            raise unsupported(controller, name)
        write(directory, name, str(value))

    def _apply_memory(self, memory: dict[str, Any]) -> None:
        limit, swap = memory.get("limit"), memory.get("swap")
        current = number(self.directory("memory"), "memory.memsw.limit_in_bytes")
        # Memory may never exceed memory plus swap, so growing starts with the latter.
        order = [("memory.limit_in_bytes", limit), ("memory.memsw.limit_in_bytes", swap)]
        if swap is not None and limit is not None and (swap == -1 or swap > current):
            order.reverse()
        for name, value in order:
            if value and (value > 0 or "memory" in self.hierarchies):
                self._write("memory", name, value)
        for key, name in (
            ("reservation", "memory.soft_limit_in_bytes"),
            ("kernelTCP", "memory.kmem.tcp.limit_in_bytes"),
            ("swappiness", "memory.swappiness"),
        ):
            if memory.get(key) is not None:
                self._write("memory", name, memory[key])
        if memory.get("disableOOMKiller"):
            self._write("memory", "memory.oom_control", 1)

    def _apply_cpu(self, cpu: dict[str, Any]) -> None:
        for key, controller, name in (
            ("shares", "cpu", "cpu.shares"),
            ("period", "cpu", "cpu.cfs_period_us"),
            ("quota", "cpu", "cpu.cfs_quota_us"),
            ("burst", "cpu", "cpu.cfs_burst_us"),
            ("realtimePeriod", "cpu", "cpu.rt_period_us"),
            ("realtimeRuntime", "cpu", "cpu.rt_runtime_us"),
            ("idle", "cpu", "cpu.idle"),
            ("cpus", "cpuset", "cpuset.cpus"),
            ("mems", "cpuset", "cpuset.mems"),
        ):
            if cpu.get(key):
                self._write(controller, name, cpu[key])

    def _apply_pids(self, limits: dict[str, Any]) -> None:
        limit = limits.get("limit") or 0
        if limit > 0 or (limit < 0 and "pids" in self.hierarchies):
            self._write("pids", "pids.max", limit if limit > 0 else "max")

    def _apply_block_io(self, block_io: dict[str, Any]) -> None:
        if block_io.get("weight"):
            name = "blkio.weight"
            if not os.path.exists(f"{self.directory('blkio')}/{name}"):
                name = "blkio.bfq.weight"
            self._write("blkio", name, block_io["weight"])
        for key, name in _BLKIO_LISTS.items():
            for device in block_io.get(key) or ():
                rule = f"{device['major']}:{device['minor']} {device['rate']}"
                self._write("blkio", name, rule)

    def _apply_devices(self, rules: list[dict[str, Any]]) -> None:
        """Rules in order; without the controller there are none (``limits_devices``)."""
        if not self.limits_devices():
            return
        for rule in rules:
            name = "devices.allow" if rule.get("allow") else "devices.deny"
            text = device_rule(rule)
            if rule.get("allow") and text.startswith("a ") and self._all_devices():
                continue  # so already, and a group below a limited one may not repeat it
            self._write("devices", name, text)

    def _all_devices(self) -> bool:
        return read(self.directory("devices"), "devices.list").startswith("a ")

    def limits_devices(self) -> bool:
        return "devices" in self.hierarchies

    def freeze(self, frozen: bool) -> None:
        directory = self.directory("freezer")
        if not directory:
            raise Unsupported("pausing needs the freezer cgroup controller")
        wanted = "FROZEN" if frozen else "THAWED"
        for _ in range(1000):
            write(directory, "freezer.state", wanted)
            if read(directory, "freezer.state").strip() == wanted:
                return
            time.sleep(0.001)
        write(directory, "freezer.state", "THAWED")
        raise OSError(errno.ETIMEDOUT, "the kernel did not reach state " + wanted, directory)

    def kill(self) -> None:
        if "freezer" in self.hierarchies and os.path.isdir(self.directory("freezer")):
            super().kill()
            return
        while pids := self.pids():
            for pid in pids:
                kill_quietly(pid)
            time.sleep(0.002)

    def oom_kills(self) -> int:
        return pairs(self.directory("memory"), "memory.oom_control").get("oom_kill", 0)

    def stats(self) -> dict[str, Any]:
        result: dict[str, Any] = {"cgroup": 1}
        if pids := self.directory("pids"):
            limits = (number(pids, "pids.current"), number(pids, "pids.max"))
            result["pids"] = dict(zip(("current", "limit"), limits, strict=True))
        if "cpuacct" in self.hierarchies:
            result["cpu"] = self._cpu_stats()
        if memory := self.directory("memory"):
            result["memory"] = _memory_stats(memory)
            result["memory_oom_control"] = pairs(memory, "memory.oom_control")
        if blkio := self.directory("blkio"):
            result["blkio"] = {key: _blkio(blkio, name) for key, name in _BLKIO_STATS.items()}
        return result

    def _cpu_stats(self) -> dict[str, Any]:
        directory = self.directory("cpuacct")
        ticks = pairs(directory, "cpuacct.stat")
        nanoseconds = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        throttling = pairs(self.directory("cpu"), "cpu.stat")
        per_cpu = [int(word) for word in read(directory, "cpuacct.usage_percpu").split()]
        return {
            "usage": {
                "total": number(directory, "cpuacct.usage"),
                "user": ticks.get("user", 0) * nanoseconds,
                "kernel": ticks.get("system", 0) * nanoseconds,
                "per_cpu": per_cpu,
            },
            "throttling": {
                "periods": throttling.get("nr_periods", 0),
                "throttled_periods": throttling.get("nr_throttled", 0),
                "throttled_time": throttling.get("throttled_time", 0),
            },
        }


def device_rule(rule: dict[str, Any]) -> str:
    """An OCI device rule as a line of devices.allow or devices.deny."""
    major, minor = rule.get("major"), rule.get("minor")
    kind = rule.get("type") or "a"
    numbers = ":".join("*" if part is None or part < 0 else str(part) for part in (major, minor))
    return f"{kind} {numbers} {rule.get('access') or 'rwm'}"


def _memory_stats(directory: str) -> dict[str, Any]:
    result: dict[str, Any] = {
        _MEMORY_NAMES.get(key, key): value for key, value in pairs(directory, "memory.stat").items()
    }
    groups = (("usage", "memory."), ("swap", "memory.memsw."), ("kernel", "memory.kmem."), ("kernel_tcp", "memory.kmem.tcp."))  # fmt: skip
    for key, prefix in groups:
        result[key] = {
            "usage": number(directory, prefix + "usage_in_bytes"),
            "max": number(directory, prefix + "max_usage_in_bytes"),
            "limit": number(directory, prefix + "limit_in_bytes"),
            "failcnt": number(directory, prefix + "failcnt"),
        }
    return result


def _blkio(directory: str, name: str) -> list[dict[str, Any]]:
    entries = []
    for line in read(directory, name).splitlines():
        words = line.split()
        if len(words) == 3:
            major, _, minor = words[0].partition(":")
            entries.append(
                {"major": int(major), "minor": int(minor), "op": words[1], "value": int(words[2])}
            )
    return entries
