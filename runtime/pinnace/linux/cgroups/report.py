"""Resource use in the form of ``runc events``: the ``data`` of a ``stats`` event.

The names are runc's JSON (its page on events); what a kernel does not count is left out or 0, as there.
"""

from __future__ import annotations

import os
from typing import Any

from pinnace.linux.cgroups.base import Cgroup, number, pairs, read
from pinnace.linux.cgroups.v1 import LegacyCgroup
from pinnace.linux.cgroups.v2 import UnifiedCgroup

_NO_LIMIT = (1 << 64) - 1  # how runc writes version 2's "max"
_CPUSET_FLAGS = (
    "cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page",
    "memory_spread_slab", "memory_pressure", "sched_load_balance",
)  # fmt: skip
_MEMORY_GROUPS = (
    ("usage", "memory."),
    ("swap", "memory.memsw."),
    ("kernel", "memory.kmem."),
    ("kernelTCP", "memory.kmem.tcp."),
)
_BLKIO = (
    ("ioServiceBytesRecursive", "io_service_bytes"),
    ("ioServicedRecursive", "io_serviced"),
    ("ioQueueRecursive", "io_queued"),
    ("ioServiceTimeRecursive", "io_service_time"),
    ("ioWaitTimeRecursive", "io_wait_time"),
    ("ioMergedRecursive", "io_merged"),
    ("ioTimeRecursive", "time"),
    ("sectorsRecursive", "sectors"),
)
_IO = (
    ("ioServiceBytesRecursive", "rbytes", "Read"),
    ("ioServiceBytesRecursive", "wbytes", "Write"),
    ("ioServicedRecursive", "rios", "Read"),
    ("ioServicedRecursive", "wios", "Write"),
)


def usage(group: Cgroup) -> dict[str, Any]:
    """What ``group`` uses now, read from its control files."""
    if isinstance(group, LegacyCgroup):
        found = _legacy(group)
    elif isinstance(group, UnifiedCgroup):
        found = _unified(group)
    else:
        raise TypeError(f"{type(group).__name__} is no kind of control group")
    return {**found, "intel_rdt": {}, "network_interfaces": None}


def _legacy(group: LegacyCgroup) -> dict[str, Any]:
    place = group.directory
    huge = place("hugetlb") or (group.unified_root and group.unified_root + group.path)
    return {
        "cpu": {
            "usage": _legacy_cpu(place("cpuacct")),
            "throttling": _throttling(pairs(place("cpu"), "cpu.stat"), "throttled_time", 1),
        },
        "cpuset": _cpuset(place("cpuset")),
        "memory": _legacy_memory(place("memory")),
        "pids": _pids(place("pids")),
        "blkio": _legacy_blkio(place("blkio")),
        "hugetlb": _hugetlb(huge),
    }


def _unified(group: UnifiedCgroup) -> dict[str, Any]:
    place = group.directory
    times = pairs(place, "cpu.stat")
    spent = {
        "total": times.get("usage_usec", 0) * 1000,
        "kernel": times.get("system_usec", 0) * 1000,
        "user": times.get("user_usec", 0) * 1000,
    }
    return {
        "cpu": {
            "usage": spent,
            "throttling": _throttling(times, "throttled_usec", 1000),
            **_pressure(place, "cpu"),
        },
        "cpuset": _cpuset(""),
        "memory": {**_unified_memory(place), **_pressure(place, "memory")},
        "pids": _pids(place),
        "blkio": {**_unified_io(place), **_pressure(place, "io")},
        "hugetlb": _hugetlb(place),
    }


def _throttling(counts: dict[str, int], time: str, scale: int) -> dict[str, int]:
    found = {
        "periods": counts.get("nr_periods", 0),
        "throttledPeriods": counts.get("nr_throttled", 0),
        "throttledTime": counts.get(time, 0) * scale,
    }
    return {key: value for key, value in found.items() if value}


def _legacy_cpu(place: str) -> dict[str, Any]:
    ticks = pairs(place, "cpuacct.stat")
    nanoseconds = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    rows = [line.split() for line in read(place, "cpuacct.usage_all").splitlines()[1:]]
    return {
        "total": number(place, "cpuacct.usage"),
        "percpu": [int(word) for word in read(place, "cpuacct.usage_percpu").split()],
        "percpu_kernel": [int(row[2]) for row in rows],
        "percpu_user": [int(row[1]) for row in rows],
        "kernel": ticks.get("system", 0) * nanoseconds,
        "user": ticks.get("user", 0) * nanoseconds,
    }


def _cpuset(place: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "cpus": numbers(read(place, "cpuset.cpus")) if place else None,
        "mems": numbers(read(place, "cpuset.mems")) if place else None,
    }
    for name in _CPUSET_FLAGS:
        found[name] = number(place, f"cpuset.{name}") if place else 0
    level = number(place, "cpuset.sched_relax_domain_level") if place else 0
    return {**found, "sched_relax_domain_level": level}


def numbers(text: str) -> list[int]:
    """A list of processors or memory nodes, ``0-2,5``, one by one."""
    found: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first:
            found += range(int(first), int(last or first) + 1)
    return found


def _legacy_memory(place: str) -> dict[str, Any]:
    raw = pairs(place, "memory.stat")
    found: dict[str, Any] = {"cache": raw.get("cache", 0)}
    for key, prefix in _MEMORY_GROUPS:
        found[key] = {
            "limit": number(place, prefix + "limit_in_bytes"),
            "usage": number(place, prefix + "usage_in_bytes"),
            "max": number(place, prefix + "max_usage_in_bytes"),
            "failcnt": number(place, prefix + "failcnt"),
        }
    return {**found, "raw": raw}


def _unified_memory(place: str) -> dict[str, Any]:
    raw = pairs(place, "memory.stat")
    memory, swap = _entry(place, "memory"), _entry(place, "memory.swap")
    both = {
        "limit": min(_NO_LIMIT, memory["limit"] + swap["limit"]),
        "usage": memory["usage"] + swap["usage"],
        "failcnt": 0,
    }
    kernel = {"limit": 0, "usage": raw.get("kernel", 0), "failcnt": 0}
    return {
        "cache": raw.get("file", 0),
        "usage": memory,
        "swap": both,
        "kernel": kernel,
        "kernelTCP": {"limit": 0, "failcnt": 0},
        "raw": raw,
    }


def _entry(place: str, prefix: str) -> dict[str, int]:
    limit = read(place, f"{prefix}.max").strip()
    return {
        "limit": int(limit) if limit.isdigit() else _NO_LIMIT,
        "usage": number(place, f"{prefix}.current"),
        "max": number(place, f"{prefix}.peak"),
        "failcnt": pairs(place, f"{prefix}.events").get("max", 0),
    }


def _pids(place: str) -> dict[str, int]:
    found = {"current": number(place, "pids.current"), "limit": number(place, "pids.max")}
    return {key: value for key, value in found.items() if value}


def _legacy_blkio(place: str) -> dict[str, Any]:
    found = {}
    for key, name in _BLKIO:
        for file in (f"blkio.bfq.{name}_recursive", f"blkio.throttle.{name}_recursive"):
            if entries := _operations(read(place, file) if place else ""):
                found[key] = entries
                break
    return found


def _operations(text: str) -> list[dict[str, Any]]:
    """Lines of ``major:minor operation count``; the last, a total, has no device."""
    entries = []
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3:
            major, _, minor = words[0].partition(":")
            entries.append(
                {"major": int(major), "minor": int(minor), "op": words[1], "value": int(words[2])}
            )
    return entries


def _unified_io(place: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for line in read(place, "io.stat").splitlines():
        device, *words = line.split()
        counts = dict(word.split("=", 1) for word in words if "=" in word)
        major, _, minor = device.partition(":")
        for key, name, operation in _IO:
            if name in counts:
                entry = {"major": int(major), "minor": int(minor), "op": operation}
                found.setdefault(key, []).append({**entry, "value": int(counts[name])})
    return found


def _hugetlb(place: str) -> dict[str, Any]:
    """By page size; version 2's ``current`` is version 1's ``usage_in_bytes``."""
    found = {}
    for name in _files(place):
        kind, _, rest = name.partition(".")
        size, _, end = rest.rpartition(".")
        if kind == "hugetlb" and end in ("current", "usage_in_bytes") and "." not in size:
            found[size] = {
                "usage": number(place, name),
                "max": number(place, f"hugetlb.{size}.max_usage_in_bytes"),
                "failcnt": number(place, f"hugetlb.{size}.failcnt")
                or pairs(place, f"hugetlb.{size}.events").get("max", 0),
            }
    return found


def _files(place: str) -> list[str]:
    return sorted(os.listdir(place)) if place and os.path.isdir(place) else []


def _pressure(place: str, what: str) -> dict[str, Any]:
    """Stall times (Documentation/accounting/psi.rst), where the kernel measures them."""
    found: dict[str, Any] = {}
    for line in read(place, f"{what}.pressure").splitlines():
        kind, *words = line.split()
        values = dict(word.split("=", 1) for word in words)
        averages = {key: float(values[key]) for key in ("avg10", "avg60", "avg300")}
        found[kind] = {**averages, "total": int(values["total"])}
    return {"psi": found} if found else {}
