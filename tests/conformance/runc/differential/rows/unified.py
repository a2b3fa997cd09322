"""Limits on cgroup version 2, as the files of the container's own group show them; for machines that have it."""

from __future__ import annotations

from typing import Any

from tests.conformance.runc.differential.bundle import Bundle
from tests.conformance.runc.differential.table import Row, mount

_CGROUP = mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro", "nosuid", "noexec", "nodev")
_FILES = (
    "memory.max", "memory.swap.max", "memory.low", "memory.high", "cpu.weight", "cpu.max", "cpu.idle", "cpuset.cpus",
    "cpuset.mems", "pids.max", "io.max",
)  # fmt: skip


def _row(name: str, **resources: Any) -> Row:
    settings = {f"linux.resources.{key}": value for key, value in resources.items()}
    ask = tuple(f"read:/sys/fs/cgroup/{file}" for file in _FILES)
    return Row(f"unified-{name}", settings, mounts=(_CGROUP,), ask=ask, change=_with_own_cgroups)


def _with_own_cgroups(bundle: Bundle) -> None:
    """Its own group is then the root of what it sees."""
    bundle.spec["linux"]["namespaces"].append({"type": "cgroup"})


_MIB = 1 << 20

ROWS = [
    _row("no-limits"),
    Row("unified-no-namespace", {}, mounts=(_CGROUP,)),
    _row("memory", memory={"limit": 64 * _MIB}),
    _row("memory-and-swap", memory={"limit": 64 * _MIB, "swap": 96 * _MIB}),
    _row("memory-without-swap", memory={"limit": 64 * _MIB, "swap": 64 * _MIB}),
    _row("memory-unlimited", memory={"limit": -1, "swap": -1}),
    _row("memory-reservation", memory={"limit": 64 * _MIB, "reservation": 32 * _MIB}),
    _row("memory-swap-below-limit", memory={"limit": 64 * _MIB, "swap": 32 * _MIB}),
    _row("cpu-quota", cpu={"quota": 50000, "period": 100000}),
    _row("cpu-quota-unlimited", cpu={"quota": -1}),
    _row("cpu-period", cpu={"period": 50000}),
    _row("cpu-idle", cpu={"idle": 1}),
    _row("cpus", cpu={"cpus": "0"}),
    _row("cpus-missing", cpu={"cpus": "4000"}),
    _row("pids", pids={"limit": 32}),
    _row("pids-unlimited", pids={"limit": -1}),
    _row("by-name", unified={"memory.high": str(48 * _MIB), "pids.max": "31"}),
    _row("by-name-unknown", unified={"memory.nonsense": "1"}),
    _row("by-path", unified={"../pids.max": "31"}),
    _row("devices-none", devices=[{"allow": False, "access": "rwm"}]),
]
