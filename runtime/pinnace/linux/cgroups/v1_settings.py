"""OCI resources as control files of version 1 (Documentation/admin-guide/cgroup-v1 in the kernel)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pinnace.errors import InvalidArgument
from pinnace.linux.cgroups import convert
from pinnace.linux.cgroups.setting import Setting

_MAX_SWAPPINESS = 100  # config-linux.md; newer kernels would take 200

_MEMORY = (
    ("limit", "memory.limit_in_bytes"),
    ("swap", "memory.memsw.limit_in_bytes"),
    ("reservation", "memory.soft_limit_in_bytes"),
    ("kernelTCP", "memory.kmem.tcp.limit_in_bytes"),
)
_CPU = (
    ("shares", "cpu", "cpu.shares"),
    ("period", "cpu", "cpu.cfs_period_us"),
    ("quota", "cpu", "cpu.cfs_quota_us"),
    ("burst", "cpu", "cpu.cfs_burst_us"),
    ("realtimePeriod", "cpu", "cpu.rt_period_us"),
    ("realtimeRuntime", "cpu", "cpu.rt_runtime_us"),
    ("cpus", "cpuset", "cpuset.cpus"),
    ("mems", "cpuset", "cpuset.mems"),
)
_THROTTLES = (
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device"),
)
_WEIGHTS = (("weight", "blkio.weight", "blkio.bfq.weight"), ("leafWeight", "blkio.leaf_weight", ""))


def settings(resources: dict[str, Any]) -> list[Setting]:
    """Everything of ``resources`` but its device rules; 0 and what is missing mean "leave it".

    Raises InvalidArgument.
    """
    return [
        *_memory(resources.get("memory") or {}),
        *_cpu(resources.get("cpu") or {}),
        *_pids(resources.get("pids") or {}),
        *_block_io(resources.get("blockIO") or {}),
        *_hugepages(resources.get("hugepageLimits") or []),
        *_network(resources.get("network") or {}),
        *rdma(resources.get("rdma") or {}),
    ]


def _memory(memory: dict[str, Any]) -> Iterator[Setting]:
    limits = dict(memory)
    if limits.get("limit") == -1 and not limits.get("swap"):
        limits["swap"] = -1  # no limit on memory leaves none on both together
    for key, file in _MEMORY:
        value = limits.get(key)
        if value:
            optional = key == "swap" and not memory.get("swap")
            yield Setting("memory", file, str(value), is_unlimited=value < 0, optional=optional)
    if kernel := limits.get("kernel"):
        text = "memory.kernel cannot be limited: this kernel counts it as memory; set memory.limit"
        file = "memory.kmem.limit_in_bytes"
        yield Setting("memory", file, str(kernel), is_unlimited=kernel < 0, ignored=text)
    if limits.get("swappiness") is not None:
        if not 0 <= limits["swappiness"] <= _MAX_SWAPPINESS:
            raise InvalidArgument("memory.swappiness must be 0 to 100")
        yield Setting("memory", "memory.swappiness", str(limits["swappiness"]))
    if limits.get("disableOOMKiller"):
        yield Setting("memory", "memory.oom_control", "1")
    if limits.get("useHierarchy"):
        # Kernels from 5.11 on always count hierarchically.
        yield Setting("memory", "memory.use_hierarchy", "1", optional=True)


def _cpu(cpu: dict[str, Any]) -> Iterator[Setting]:
    shares = cpu.get("shares") or 0
    if shares and not convert.MIN_SHARES <= shares <= convert.MAX_SHARES:
        # The kernel would take it and do something else.
        raise InvalidArgument(
            f"cpu.shares must be {convert.MIN_SHARES} to {convert.MAX_SHARES}, not {shares}"
        )
    for key, controller, file in _CPU:
        value = cpu.get(key)
        if value or (key == "burst" and value is not None):
            unlimited = key == "quota" and value < 0
            yield Setting(controller, file, str(value), is_unlimited=unlimited)
    if cpu.get("idle") is not None:
        yield Setting("cpu", "cpu.idle", str(cpu["idle"]), optional=not cpu["idle"])


def _pids(pids: dict[str, Any]) -> Iterator[Setting]:
    limit = pids.get("limit") or 0
    if limit:
        text = str(limit) if limit > 0 else "max"
        yield Setting("pids", "pids.max", text, is_unlimited=limit < 0)


def _block_io(block_io: dict[str, Any]) -> Iterator[Setting]:
    for key, file, bfq in _WEIGHTS:
        if value := block_io.get(key):
            instead = ((bfq, str(value)),) if bfq else ()
            yield Setting("blkio", file, str(value), instead=instead)
    for device in block_io.get("weightDevice") or ():
        number = f"{device['major']}:{device['minor']}"
        for key, file, bfq in _WEIGHTS:
            if value := device.get(key):
                line = f"{number} {value}"
                instead = ((f"{bfq}_device", line),) if bfq else ()
                yield Setting("blkio", f"{file}_device", line, instead=instead)
    for key, file in _THROTTLES:
        for device in block_io.get(key) or ():
            line = f"{device['major']}:{device['minor']} {device['rate']}"
            yield Setting("blkio", file, line)


def _hugepages(limits: list[dict[str, Any]]) -> Iterator[Setting]:
    for item in limits:
        prefix = f"hugetlb.{item['pageSize']}"
        yield Setting("hugetlb", f"{prefix}.limit_in_bytes", str(item["limit"]))
        # Pages that are reserved and not yet used; kernel 5.7 and later.
        yield Setting("hugetlb", f"{prefix}.rsvd.limit_in_bytes", str(item["limit"]), optional=True)


def _network(network: dict[str, Any]) -> Iterator[Setting]:
    if network.get("classID"):
        yield Setting("net_cls", "net_cls.classid", str(network["classID"]))
    for item in network.get("priorities") or ():
        yield Setting("net_prio", "net_prio.ifpriomap", f"{item['name']} {item['priority']}")


def rdma(devices: dict[str, Any]) -> Iterator[Setting]:
    """The same in both versions: a line for each device."""
    for name, limits in devices.items():
        line = name
        for key, word in (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object")):
            if limits.get(key) is not None:
                line += f" {word}={limits[key]}"
        yield Setting("rdma", "rdma.max", line)
