"""``runc update``: change the limits of a container."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

from pinnace.cli.options import Flag, integer, text
from pinnace.cli.runc import common
from pinnace.errors import InvalidArgument
from pinnace.runc import container
from pinnace.spec import runtime

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] CONTAINER"
FLAGS: tuple[Flag, ...] = (
    text("resources", "r", about="file with an OCI resources object, - for standard input; other flags are ignored then"),
    integer("blkio-weight", about="share of block input and output, 10 to 1000"),
    text("cpu-period", about="microseconds of a period of --cpu-quota"),
    text("cpu-quota", about="microseconds of processor in a period, -1 for no limit"),
    text("cpu-burst", about="microseconds that may be saved up for later periods"),
    text("cpu-share", about="share of processor, 2 to 262144; 1024 is usual"),
    text("cpu-rt-period", about="microseconds of a period of --cpu-rt-runtime"),
    text("cpu-rt-runtime", about="microseconds of real-time processor in a period"),
    text("cpuset-cpus", about="processors, as 0-2,5"),
    text("cpuset-mems", about="memory nodes, as 0,1"),
    text("kernel-memory", about="has no effect; here for compatibility"),
    text("kernel-memory-tcp", about="has no effect; here for compatibility"),
    text("memory", about="bytes of memory, or with a unit as 64m; -1 for no limit"),
    text("cpu-idle", about="1 to run only when nothing else does, 0 not to"),
    text("memory-reservation", about="bytes that are left to it when memory is short"),
    text("memory-swap", about="bytes of memory and swap together, -1 for no limit"),
    integer("pids-limit", about="number of processes, -1 for no limit"),
    text("l3-cache-schema", about="Intel RDT cache schema"),
    text("mem-bw-schema", about="Intel RDT memory bandwidth schema"),
)  # fmt: skip

_NUMBERS = (
    ("cpu-period", "period"),
    ("cpu-quota", "quota"),
    ("cpu-burst", "burst"),
    ("cpu-share", "shares"),
    ("cpu-rt-period", "realtimePeriod"),
    ("cpu-rt-runtime", "realtimeRuntime"),
    ("cpu-idle", "idle"),
)
_TEXTS = (("cpuset-cpus", "cpus"), ("cpuset-mems", "mems"))
_BYTES = (("memory", "limit"), ("memory-reservation", "reservation"), ("memory-swap", "swap"))
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?")


def run(call: Call) -> int:
    identifier, root = common.container_of(call)
    for name in ("l3-cache-schema", "mem-bw-schema"):
        if call.text(name):
            raise InvalidArgument(f"--{name}: Intel RDT is not managed by this runtime")
    container.update(identifier, root, _given(call) or _from_flags(call))
    return 0


def _given(call: Call) -> dict[str, Any] | None:
    """The object of --resources."""
    path = call.text("resources")
    if not path:
        return None
    try:
        if path == "-":
            content = sys.stdin.buffer.read(runtime.MAX_CONFIG)
        else:
            with open(path, "rb") as file:
                content = file.read(runtime.MAX_CONFIG)
        found = json.loads(content)
    except (OSError, ValueError) as problem:
        raise InvalidArgument(f"--resources {path}: {problem}") from None
    if not isinstance(found, dict):
        raise InvalidArgument(f"--resources {path} is not an object")
    return found


def _from_flags(call: Call) -> dict[str, Any]:
    cpu: dict[str, Any] = {key: _number(call, flag) for flag, key in _NUMBERS if call.text(flag)}
    cpu |= {key: call.text(flag) for flag, key in _TEXTS if call.text(flag)}
    memory = {key: size(flag, call.text(flag)) for flag, key in _BYTES if call.text(flag)}
    return {
        "cpu": cpu,
        "memory": memory,
        "pids": {"limit": call.integer("pids-limit")},
        "blockIO": {"weight": call.integer("blkio-weight")},
    }


def _number(call: Call, flag: str) -> int:
    try:
        return int(call.text(flag))
    except ValueError:
        raise InvalidArgument(f"invalid value for --{flag}: {call.text(flag)}") from None


def size(flag: str, words: str) -> int:
    """Bytes of ``64m`` (powers of 1024), or -1. Raises InvalidArgument."""
    if words == "-1":
        return -1
    found = _SIZE.fullmatch(words.strip().lower())
    if not found:
        raise InvalidArgument(f"invalid value for --{flag}: {words}", hint="bytes, or as 64m")
    whole, _, part = found[1].partition(".")
    unit = 1 << _UNITS[found[2]]
    return int(whole) * unit + int(float(f"0.{part or 0}") * unit)
