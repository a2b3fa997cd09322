"""``./inv status``: each board's release, drift, health, disk, clock and temperature in one table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from toolkit import console
from toolkit.errors import HostUnreachable, PinnaceError

UNITS = ("pinnaced.service", "pinnace-keeper.service")
_COLUMNS = ("HOST", "RELEASE", "DRIFT", "HEALTH", "DISK", "MEMORY", "CLOCK", "TEMPERATURE", "UP")


@dataclass(frozen=True, slots=True)
class Seen:
    """What a board said of itself, and how it differs from its roles.

    Attributes:
        status: what ``toolkit/agent/status.py`` gathers.
        drift: resources that differ.
        offset: seconds that its clock is ahead of this machine's.
    """

    status: Mapping[str, Any]
    drift: int
    offset: float


def show(results: Mapping[str, Seen | PinnaceError], *, as_json: bool) -> None:
    """The table, or the same as JSON."""
    if as_json:
        console.out.print_json(json.dumps({name: _plain(found) for name, found in results.items()}))
    else:
        console.table(_COLUMNS, [[name, *_row(found)] for name, found in results.items()])


def _plain(found: Seen | PinnaceError) -> dict[str, Any]:
    if isinstance(found, PinnaceError):
        return {"error": found.message}
    return {**found.status, "drift": found.drift, "clock_offset": round(found.offset, 1)}


def _row(found: Seen | PinnaceError) -> list[str]:
    if isinstance(found, PinnaceError):
        word = "unreachable" if isinstance(found, HostUnreachable) else "failed"
        return ["-", "-", word, *["-"] * 5]
    status = found.status
    return [
        status["release"] or "none",
        f"{found.drift} differ" if found.drift else "none",
        health(status),
        ", ".join(f"{path} {_share(*sizes)}" for path, sizes in status["disks"].items()),
        _share(*status["memory"]) if status["memory"] else "-",
        clock(found),
        temperature(status),
        _days(status["uptime"]),
    ]


def health(status: Mapping[str, Any]) -> str:
    """What is wrong in a few words, or ``ok``."""
    down = [f"{unit.removesuffix('.service')} {state}" for unit, state in status["units"].items() if state != "active"]  # fmt: skip
    others = [unit for unit in status["failed_units"] if unit not in status["units"]]
    down += [f"{unit} failed" for unit in others]
    return ", ".join(down) or ("ok" if status["units"] else "no systemd")


def clock(found: Seen) -> str:
    if abs(found.offset) < 2:
        return "right" if found.status["synchronised"] else "right, not synchronised"
    return f"{abs(found.offset):.0f} s {'ahead' if found.offset > 0 else 'behind'}"


def temperature(status: Mapping[str, Any]) -> str:
    degrees = status["temperature"]
    words = [] if degrees is None else [f"{degrees:.0f} °C"]
    return ", ".join([*words, *(status["throttled"] or ())]) or "-"


def _share(free: int, whole: int) -> str:
    return f"{free / whole:.0%} of {_size(whole)} free" if whole else "-"


def _size(amount: float) -> str:
    for unit in ("MiB", "GiB"):
        amount /= 1024 if unit == "GiB" else 1 << 20
        if amount < 1024:
            break
    return f"{amount:.0f} {unit}"


def _days(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    hours = int(seconds) // 3600
    return f"{hours // 24} d {hours % 24} h" if hours >= 24 else f"{hours} h {int(seconds) % 3600 // 60} min"  # fmt: skip
