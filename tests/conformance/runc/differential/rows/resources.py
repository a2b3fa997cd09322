"""Limits, as the control files of the container's own groups show them."""

from __future__ import annotations

from typing import Any

from tests.conformance.runc.differential.table import Row, mount

_CGROUP = mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro", "nosuid", "noexec", "nodev")
_MEMORY = (
    "memory/memory.limit_in_bytes", "memory/memory.memsw.limit_in_bytes",
    "memory/memory.soft_limit_in_bytes", "memory/memory.swappiness", "memory/memory.oom_control",
    "memory/memory.kmem.tcp.limit_in_bytes",
)  # fmt: skip
_CPU = (
    "cpu/cpu.shares", "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us", "cpu/cpu.cfs_burst_us",
    "cpu/cpu.idle", "cpuset/cpuset.cpus", "cpuset/cpuset.mems",
)  # fmt: skip


def _row(name: str, files: tuple[str, ...], **resources: Any) -> Row:
    settings = {f"linux.resources.{key}": value for key, value in resources.items()}
    ask = tuple(f"read:/sys/fs/cgroup/{file}" for file in files)
    return Row(f"resources-{name}", settings, mounts=(_CGROUP,), ask=ask)


def _memory(name: str, **limits: Any) -> Row:
    return _row(f"memory-{name}", _MEMORY, memory=limits)


def _cpu(name: str, **limits: Any) -> Row:
    return _row(f"cpu-{name}", _CPU, cpu=limits)


_RULES = [{"allow": False, "access": "rwm"}]

ROWS = [
    _memory("limit", limit=64 << 20),
    _memory("limit-odd", limit=(64 << 20) + 1),
    _memory("limit-and-swap", limit=64 << 20, swap=96 << 20),
    _memory("limit-is-swap", limit=64 << 20, swap=64 << 20),
    _memory("unlimited-swap", limit=64 << 20, swap=-1),
    _memory("unlimited", limit=-1),
    _memory("unlimited-both", limit=-1, swap=-1),
    _memory("zero", limit=0),
    _memory("swap-below-limit", limit=64 << 20, swap=32 << 20),
    _memory("reservation", reservation=32 << 20),
    _memory("swappiness", swappiness=10),
    _memory("swappiness-too-high", swappiness=101),
    _memory("no-oom-killer", limit=64 << 20, disableOOMKiller=True),
    _memory("oom-killer", disableOOMKiller=False),
    _memory("hierarchy", useHierarchy=True),
    _memory("too-small", limit=1),
    _memory("tcp", kernelTCP=16 << 20),
    _memory("kernel", kernel=64 << 20),
    _cpu("shares", shares=512),
    _cpu("shares-least", shares=2),
    _cpu("shares-below", shares=1),
    _cpu("shares-most", shares=262144),
    _cpu("shares-beyond", shares=1 << 20),
    _cpu("quota", quota=50000),
    _cpu("quota-and-period", quota=20000, period=50000),
    _cpu("period", period=50000),
    _cpu("quota-unlimited", quota=-1),
    _cpu("quota-too-small", quota=10),
    _cpu("burst", quota=50000, period=100000, burst=10000),
    _cpu("burst-beyond-quota", quota=50000, burst=60000),
    _cpu("idle", idle=1),
    _cpu("cpus", cpus="0"),
    _cpu("cpus-range", cpus="0-1", mems="0"),
    _cpu("cpus-missing", cpus="4000"),
    _cpu("cpus-nonsense", cpus="zero"),
    _row("pids", ("pids/pids.max",), pids={"limit": 20}),
    _row("pids-unlimited", ("pids/pids.max",), pids={"limit": -1}),
    _row(
        "blkio-throttle-unknown-device",
        (),
        blockIO={"throttleReadBpsDevice": [{"major": 7, "minor": 250, "rate": 1 << 20}]},
    ),
    _row("blkio-weight", (), blockIO={"weight": 500}),
    _row("network-class", (), network={"classID": 1048577}),
    _row("unified-on-version-1", (), unified={"memory.high": "1073741824"}),
    _row("hugepages", (), hugepageLimits=[{"pageSize": "2MB", "limit": 4 << 20}]),
    _row("hugepages-unknown-size", (), hugepageLimits=[{"pageSize": "3MB", "limit": 4 << 20}]),
    _row("everything", (*_MEMORY, *_CPU, "pids/pids.max"), memory={"limit": 64 << 20}, cpu={"shares": 100}, pids={"limit": 9}),
    _row("devices-none", ("devices/devices.list",), devices=_RULES),
    _row("devices-allowed", ("devices/devices.list",), devices=[*_RULES, {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rwm"}]),
    _row("devices-read-only", ("devices/devices.list",), devices=[*_RULES, {"allow": True, "type": "c", "major": 10, "minor": 200, "access": "r"}]),
    _row("devices-any-minor", ("devices/devices.list",), devices=[*_RULES, {"allow": True, "type": "b", "major": 7, "access": "rw"}]),
    _row("devices-all", ("devices/devices.list",), devices=[{"allow": True, "access": "rwm"}]),
]  # fmt: skip
