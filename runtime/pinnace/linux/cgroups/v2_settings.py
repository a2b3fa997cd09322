"""OCI resources, whose units are version 1's, as control files of version 2 (cgroup-v2.rst).

What version 2 has no word for is an error when it is asked for, never left out in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pinnace.errors import InvalidArgument
from pinnace.linux.cgroups import convert
from pinnace.linux.cgroups.setting import Setting
from pinnace.linux.cgroups.v1_settings import rdma

Reader = Callable[[str], str]

_NO_WORD = "{0} cannot be set: cgroup version 2 has no such limit"
_THROTTLES = (
    ("throttleReadBpsDevice", "rbps"),
    ("throttleWriteBpsDevice", "wbps"),
    ("throttleReadIOPSDevice", "riops"),
    ("throttleWriteIOPSDevice", "wiops"),
)


def settings(resources: dict[str, Any], current: Reader = lambda _: "") -> list[Setting]:
    """Everything of ``resources`` but its device rules; 0 and what is missing mean "leave it".

    ``current`` reads a control file as it is: some limits are half of one. Raises InvalidArgument.
    """
    return [
        *_memory(resources.get("memory") or {}, current),
        *_cpu(resources.get("cpu") or {}, current),
        *_pids(resources.get("pids") or {}),
        *_block_io(resources.get("blockIO") or {}),
        *_hugepages(resources.get("hugepageLimits") or []),
        *_network(resources.get("network") or {}),
        *rdma(resources.get("rdma") or {}),
        *_unified(resources.get("unified") or {}),
    ]


def _limit(controller: str, file: str, value: int) -> Setting:
    return Setting(controller, file, convert.bytes_or_max(value), is_unlimited=value < 0)


def _memory(memory: dict[str, Any], current: Reader) -> Iterator[Setting]:
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    if limit == -1 and not swap:
        swap = -1  # no limit on memory leaves none on both together
    if swap:
        held = limit or int(current("memory.max").strip().replace("max", "-1") or 0)
        text = convert.swap_max(swap, held)
        # Without swap, none and all of it are the same.
        none = text in ("0", "max")
        yield Setting("memory", "memory.swap.max", text, is_unlimited=swap < 0, optional=none)
    if limit:
        yield _limit("memory", "memory.max", limit)
    if memory.get("reservation"):
        yield _limit("memory", "memory.low", memory["reservation"])
    for key in ("kernel", "kernelTCP"):
        if (memory.get(key) or 0) > 0:
            yield _refused("memory", f"memory.{key}")
    if memory.get("swappiness") is not None:
        yield _refused("memory", "memory.swappiness")
    if memory.get("disableOOMKiller"):
        yield _refused("memory", "memory.disableOOMKiller")


def _refused(controller: str, name: str) -> Setting:
    return Setting(controller, "", "", refused=_NO_WORD.format(name))


def _cpu(cpu: dict[str, Any], current: Reader) -> Iterator[Setting]:
    if cpu.get("idle") is not None:
        yield Setting("cpu", "cpu.idle", str(cpu["idle"]), optional=not cpu["idle"])
    if cpu.get("shares") and not cpu.get("idle"):  # an idle group has no weight
        yield Setting("cpu", "cpu.weight", str(convert.cpu_weight(cpu["shares"])))
    quota, period = cpu.get("quota") or 0, cpu.get("period") or 0
    if quota or period:
        first = convert.bytes_or_max(quota) if quota else (current("cpu.max").split() or ["max"])[0]
        line = f"{first} {period}" if period else first
        yield Setting("cpu", "cpu.max", line, is_unlimited=first == "max")
    if cpu.get("burst") is not None:
        yield Setting("cpu", "cpu.max.burst", str(cpu["burst"]), optional=not cpu["burst"])
    for key in ("cpus", "mems"):
        if cpu.get(key):
            yield Setting("cpuset", f"cpuset.{key}", cpu[key])
    for key in ("realtimePeriod", "realtimeRuntime"):
        if (cpu.get(key) or 0) > 0:
            yield _refused("cpu", f"cpu.{key}")


def _pids(pids: dict[str, Any]) -> Iterator[Setting]:
    if limit := pids.get("limit") or 0:
        yield _limit("pids", "pids.max", limit)


def _block_io(block_io: dict[str, Any]) -> Iterator[Setting]:
    if weight := block_io.get("weight"):
        yield _weight("", int(weight))
    for device in block_io.get("weightDevice") or ():
        if device.get("weight"):
            yield _weight(f"{device['major']}:{device['minor']}", int(device["weight"]))
        if device.get("leafWeight"):
            yield _refused("io", "blockIO.leafWeight")
    if block_io.get("leafWeight"):
        yield _refused("io", "blockIO.leafWeight")
    for key, word in _THROTTLES:
        for device in block_io.get(key) or ():
            rate = device["rate"] or "max"
            yield Setting("io", "io.max", f"{device['major']}:{device['minor']} {word}={rate}")


def _weight(device: str, weight: int) -> Setting:
    """The bfq scheduler keeps version 1's scale; where it is not used, io.weight has its own."""
    scaled = f"{device or 'default'} {convert.io_weight(weight)}"
    bfq = f"{device} {weight}".lstrip()
    return Setting("io", "io.bfq.weight", bfq, instead=(("io.weight", scaled),))


def _hugepages(limits: list[dict[str, Any]]) -> Iterator[Setting]:
    for item in limits:
        prefix = f"hugetlb.{item['pageSize']}"
        yield Setting("hugetlb", f"{prefix}.max", str(item["limit"]))
        yield Setting("hugetlb", f"{prefix}.rsvd.max", str(item["limit"]), optional=True)


def _network(network: dict[str, Any]) -> Iterator[Setting]:
    if network.get("classID"):
        yield _refused("net_cls", "network.classID")
    if network.get("priorities"):
        yield _refused("net_prio", "network.priorities")


def _unified(files: dict[str, Any]) -> Iterator[Setting]:
    """Control files by name, as they are."""
    for name, value in files.items():
        controller, dot, rest = name.partition(".")
        if not dot or not rest or "/" in name or not isinstance(value, str):
            raise InvalidArgument(f"unified resource {name!r} is not a control file and its text")
        yield Setting("" if controller == "cgroup" else controller, name, value)
