"""OCI control group paths and resources in systemd's words: unit names, slices, properties.

Facts: systemd.slice(5), systemd.resource-control(5), org.freedesktop.systemd1(5). Everything here is pure.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pinnace.errors import InvalidArgument
from pinnace.linux.cgroups import convert
from pinnace.linux.dbus.wire import Variant

_MOST = 1 << 16  # processors or memory nodes, far beyond what there is
INFINITY = (1 << 64) - 1
Properties = list[tuple[str, Variant]]


class Unit(NamedTuple):
    """A scope (or slice) that holds a container, and the slice above it (``-.slice`` is the root)."""

    name: str
    slice: str

    @property
    def path(self) -> str:
        """Where systemd makes its control group, below the hierarchy's root."""
        above = slice_path(self.slice)
        return f"{above}/{self.name}" if not self.name.endswith(".slice") else slice_path(self.name)


def unit(cgroups_path: str, container_id: str, *, rootless: bool = False) -> Unit:
    """The unit for ``cgroupsPath`` in its form for systemd, ``slice:prefix:name``.

    Without a path it is a scope of ours in the usual slice. Raises InvalidArgument.
    """
    parts = cgroups_path.split(":") if cgroups_path else ["", "pinnace", container_id]
    if len(parts) != 3:
        raise InvalidArgument(
            f'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "{cgroups_path}" instead'
        )
    above, prefix, name = parts
    above = above or ("user.slice" if rootless else "system.slice")
    if above == "-":
        above = "-.slice"
    slice_path(above)
    if not name or "/" in name or "/" in prefix:
        raise InvalidArgument(f"cgroupsPath {cgroups_path} does not name a unit")
    if name.endswith(".slice"):
        slice_path(name)
        return Unit(name, above)
    return Unit(f"{prefix}-{name}.scope" if prefix else f"{name}.scope", above)


def slice_path(name: str) -> str:
    """``a-b.slice`` lives in ``/a.slice/a-b.slice``. Raises InvalidArgument for what is no slice."""
    if name == "-.slice":
        return ""
    words = name.removesuffix(".slice").split("-")
    if not name.endswith(".slice") or "/" in name or "" in words:
        raise InvalidArgument(f"invalid slice name {name}")
    return "/" + "/".join("-".join(words[: end + 1]) + ".slice" for end in range(len(words)))


def start_properties(what: Unit, pid: int, version: int) -> Properties:
    """Those of a new unit that holds process ``pid``; ``version`` is that of the control groups."""
    found: Properties = [("Description", Variant("s", f"pinnace container {what.name}"))]
    if what.name.endswith(".slice"):
        found.append(("Wants", Variant("as", [what.slice])))
    else:
        found.append(("Slice", Variant("s", what.slice)))
        found.append(("Delegate", Variant("b", True)))
        found.append(("PIDs", Variant("au", [pid])))
    io = "IOAccounting" if version == 2 else "BlockIOAccounting"
    for name in ("MemoryAccounting", "CPUAccounting", io, "TasksAccounting"):
        found.append((name, Variant("b", True)))
    return [*found, ("DefaultDependencies", Variant("b", False))]


def properties(resources: dict[str, Any], version: int) -> Properties:
    """What systemd has words for; all limits are written to the files too, these keep systemd from
    setting them back. Raises InvalidArgument."""
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    found: dict[str, int] = {}
    if version == 2:
        found = _memory(memory) | _cpu_shares(cpu, version)
    elif memory.get("limit"):
        found = {"MemoryLimit": _number(memory["limit"])}
    if version == 1:
        found |= _cpu_shares(cpu, version)
    found |= _cpu_quota(cpu)
    if limit := (resources.get("pids") or {}).get("limit") or 0:
        found["TasksMax"] = _number(limit)
    if weight := (resources.get("blockIO") or {}).get("weight") or 0:
        scaled = convert.io_weight(weight) if version == 2 else weight
        found["IOWeight" if version == 2 else "BlockIOWeight"] = scaled
    result: Properties = [(name, Variant("t", value)) for name, value in found.items()]
    if version == 2:
        for key, name in (("cpus", "AllowedCPUs"), ("mems", "AllowedMemoryNodes")):
            if cpu.get(key):
                result.append((name, Variant("ay", mask(cpu[key]))))
        result += _unified(resources.get("unified") or {})
    return result


def _number(limit: int) -> int:
    return INFINITY if limit < 0 else int(limit)


def _memory(memory: dict[str, Any]) -> dict[str, int]:
    found = {}
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    if limit:
        found["MemoryMax"] = _number(limit)
    if memory.get("reservation"):
        found["MemoryLow"] = _number(memory["reservation"])
    if swap and (limit or swap < 0):
        found["MemorySwapMax"] = _of_text(convert.swap_max(swap, limit))
    return found


def _cpu_shares(cpu: dict[str, Any], version: int) -> dict[str, int]:
    if not cpu.get("shares"):
        return {}
    if version == 2:
        return {"CPUWeight": convert.cpu_weight(cpu["shares"])}
    return {"CPUShares": int(cpu["shares"])}


def _cpu_quota(cpu: dict[str, Any]) -> dict[str, int]:
    quota, period = cpu.get("quota") or 0, cpu.get("period") or 0
    found = {}
    if quota:
        per_second = INFINITY if quota < 0 else convert.quota_per_second(quota, period)
        found["CPUQuotaPerSecUSec"] = per_second
    if period:
        found["CPUQuotaPeriodUSec"] = int(period)
    return found


def _of_text(text: str) -> int:
    return INFINITY if text == "max" else int(text)


_UNIFIED = {
    "memory.max": "MemoryMax", "memory.high": "MemoryHigh", "memory.low": "MemoryLow",
    "memory.min": "MemoryMin", "memory.swap.max": "MemorySwapMax", "pids.max": "TasksMax",
    "cpu.weight": "CPUWeight", "cpuset.cpus": "AllowedCPUs", "cpuset.mems": "AllowedMemoryNodes",
}  # fmt: skip


def _unified(files: dict[str, Any]) -> Properties:
    """Control files that have a property; the others are written by us alone."""
    found: Properties = []
    for file, name in _UNIFIED.items():
        text = str(files.get(file) or "").strip()
        if file.startswith("cpuset") and text:
            found.append((name, Variant("ay", mask(text))))
        elif text == "max" or text.isdigit():
            found.append((name, Variant("t", _of_text(text))))
    words = str(files.get("cpu.max") or "").split()
    if words and (words[0] == "max" or words[0].isdigit()):
        period = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        quota = {"quota": -1 if words[0] == "max" else int(words[0]), "period": period}
        found += [(name, Variant("t", value)) for name, value in _cpu_quota(quota).items()]
    return found


def mask(numbers: str) -> bytes:
    """``0-2,8`` as systemd's bit mask: bytes, lowest first. Raises InvalidArgument."""
    bits = 0
    for part in numbers.split(","):
        ends = part.strip().split("-")
        if not all(end.isdigit() and int(end) < _MOST for end in ends) or len(ends) > 2:
            raise InvalidArgument(f"{numbers!r} is not a list of numbers, as 0-2,5")
        for number in range(int(ends[0]), int(ends[-1]) + 1):
            bits |= 1 << number
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def device_properties(rules: list[dict[str, Any]], names: dict[tuple[str, int], str]) -> Properties:
    """Device rules as DevicePolicy and DeviceAllow, so that systemd does not undo them.

    ``names`` are the drivers of /proc/devices by kind and major number. systemd cannot deny one device of
    those it allows: the kernel's own list, which is written beside, does.
    """
    is_strict, allowed = False, dict[tuple[str, str], None]()
    for rule in rules:
        kinds = ("block", "char") if (rule.get("type") or "a") == "a" else (_KINDS[rule["type"]],)
        allow, everything = bool(rule.get("allow")), len(kinds) == 2 and _is_any(rule, "major")
        if everything:
            is_strict, allowed = not allow, {}
        elif allow:
            allowed |= {(_device(kind, rule, names), rule.get("access") or "rwm"): None for kind in kinds}  # fmt: skip
    entries = [list(entry) for entry in allowed] if is_strict else []
    return [
        ("DevicePolicy", Variant("s", "strict" if is_strict else "auto")),
        ("DeviceAllow", Variant("a(ss)", entries)),
    ]


_KINDS = {"b": "block", "c": "char", "u": "char"}


def _is_any(rule: dict[str, Any], key: str) -> bool:
    return rule.get(key) is None or int(rule[key]) < 0


def _device(kind: str, rule: dict[str, Any], names: dict[tuple[str, int], str]) -> str:
    if _is_any(rule, "major"):
        return f"{kind}-*"
    major = int(rule["major"])
    if _is_any(rule, "minor"):
        return f"{kind}-{names.get((kind, major), major)}"
    return f"/dev/{kind}/{major}:{rule['minor']}"
