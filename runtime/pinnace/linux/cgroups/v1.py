"""cgroup version 1, alone or with a version 2 hierarchy beside it that holds no controllers.

File names are those of Documentation/admin-guide/cgroup-v1 in the kernel.
"""

from __future__ import annotations

import errno
import os
import time
from typing import Any

from pinnace.linux.cgroups import v1_settings, v2_settings
from pinnace.linux.cgroups.base import Cgroup, kill_quietly, make, number, pairs, read
from pinnace.linux.cgroups.entry import Entry
from pinnace.linux.cgroups.setting import Setting, Unsupported, Writer, write
from pinnace.linux.cgroups.v2 import UnifiedCgroup

# Which controllers of version 2 a part of OCI resources may be for.
_PARTS = {
    "memory": {"memory"}, "cpu": {"cpu", "cpuset"}, "pids": {"pids"}, "blockIO": {"io"},
    "hugepageLimits": {"hugetlb"}, "rdma": {"rdma"},
}  # fmt: skip
_NOT_UNIFIED = "unified resource {0} cannot be set: its controller is not in a version 2 hierarchy"
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
        return Entry(self._legacy(), self._unified())

    def unified_entry(self) -> Entry:
        """The way into version 2's group alone. Raises OSError."""
        return Entry([], self._unified())

    def legacy_entry(self) -> Entry:
        """The way into the others. Raises OSError."""
        return Entry(self._legacy(), "")

    def legacy_count(self) -> int:
        """How many ``legacy_entry`` opens."""
        return len(self._legacy())

    def _legacy(self) -> list[str]:
        # The memory of a process is charged where it is when it uses it: the shorter it is there
        # before it becomes the program, the smaller a limit can be.
        mounted = list(dict.fromkeys(self.hierarchies.values()))
        mounted.sort(key=lambda place: place == self.hierarchies.get("memory"))
        return [place + self.path for place in mounted]

    def _unified(self) -> str:
        return self.unified_root + self.path if self.unified_root else ""

    def join_unified(self, pid: int) -> None:
        if self.unified_root:
            write(self.unified_root + self.path, "cgroup.procs", str(pid))

    def create(self) -> None:
        for directory in self.directories():
            make(directory)
        if "cpuset" in self.hierarchies:
            self._inherit_cpuset()

    def create_unified(self) -> None:
        """Make the directory of version 2 alone, the one that a process can be born in."""
        make(self._unified())

    def _inherit_cpuset(self) -> None:
        """An empty cpuset takes no process: fill each level from the one above it."""
        place = self.hierarchies["cpuset"]
        for part in self.path.strip("/").split("/"):
            above, place = place, f"{place}/{part}"
            for name in ("cpuset.cpus", "cpuset.mems"):
                if not read(place, name).strip():
                    write(place, name, read(above, name).strip())

    def placed(self, resources: dict[str, Any]) -> list[tuple[str, Setting]]:
        """A controller that version 1 does not have may be in the hierarchy beside it."""
        elsewhere = self._elsewhere()
        found = [
            (self.directory(setting.controller), setting)
            for setting in v1_settings.settings(resources)
            if setting.controller not in elsewhere
        ]
        parts = {key: resources.get(key) for key, names in _PARTS.items() if elsewhere & names}
        parts["unified"] = resources.get("unified")
        place = UnifiedCgroup(self.path, self.unified_root)
        for setting in v2_settings.settings(parts, place.read):
            if setting.controller in elsewhere:
                place.create()  # hands the controllers down, which is not done for every container
                found.append((place.directory, setting))
            elif setting.file in (resources.get("unified") or {}):
                found.append(("", setting._replace(refused=_NOT_UNIFIED.format(setting.file))))
        return found

    def _elsewhere(self) -> set[str]:
        """Controllers that only the version 2 hierarchy has."""
        if not self.unified_root:
            return set()
        return set(read(self.unified_root, "cgroup.controllers").split()) - set(self.hierarchies)

    def limits_elsewhere(self, resources: dict[str, Any]) -> bool:
        """Whether any of these limits is one of version 2's group."""
        elsewhere = self._elsewhere()
        return bool(resources.get("unified")) or any(
            resources.get(key) and elsewhere & names for key, names in _PARTS.items()
        )

    def apply_devices(self, rules: list[dict[str, Any]]) -> None:
        if not self.limits_devices():
            return
        with Writer(self.directory("devices")) as writer:
            for rule in rules:
                name = "devices.allow" if rule.get("allow") else "devices.deny"
                text = device_rule(rule)
                if rule.get("allow") and text.startswith("a ") and self._all_devices():
                    continue  # so already, and a group below a limited one may not repeat it
                writer.write(name, text)

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

    def is_frozen(self) -> bool:
        directory = self.directory("freezer")
        return bool(directory) and read(directory, "freezer.state").strip() in (
            "FROZEN",
            "FREEZING",
        )

    def kill(self) -> None:
        if "freezer" in self.hierarchies and os.path.isdir(self.directory("freezer")):
            super().kill()
            return
        while pids := self.pids():
            for pid in pids:
                kill_quietly(pid)
            time.sleep(0.002)

    def memory_in_use(self) -> int:
        return number(self.directory("memory"), "memory.usage_in_bytes")

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
