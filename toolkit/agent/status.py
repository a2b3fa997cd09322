"""How the board is: read from files where there are any, for ``./inv status``."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from toolkit.agent.system import System

_THERMAL = "/sys/class/thermal/thermal_zone0/temp"
_THROTTLED = "/sys/devices/platform/soc/soc:firmware/get_throttled"
"""Raspberry Pi kernels show the firmware's word there; vcgencmd asks for the same."""
THROTTLING = (
    (0, "undervoltage"), (1, "frequency capped"), (2, "throttled"), (3, "soft temperature limit"),
    (16, "undervoltage has occurred"), (17, "frequency capping has occurred"),
    (18, "throttling has occurred"), (19, "soft temperature limit has occurred"),
)  # fmt: skip
"""Bits of get_throttled (raspberrypi.com, "vcgencmd")."""


def gather(system: System, units: list[str]) -> dict[str, Any]:
    """Sizes in bytes, times in seconds, temperature in degrees Celsius; ``None`` where nobody says."""
    return {
        "release": _release(system),
        "uptime": _number(system.read_text("/proc/uptime").split(" ")[0]),
        "time": time.time(),
        "synchronised": system.lstat("/run/systemd/timesync/synchronized") is not None,
        "disks": _disks(system),
        "memory": _memory(system),
        "temperature": _temperature(system),
        "throttled": _throttled(system),
        "units": _units(system, units),
        "failed_units": _failed(system),
    }


def _release(system: System) -> str | None:
    try:
        return os.path.basename(os.readlink(system.path("/opt/pinnace/current")))
    except OSError:
        return None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _disks(system: System) -> dict[str, list[int]]:
    """Free and whole bytes of the file systems that matter, each once."""
    found: dict[str, list[int]] = {}
    devices = set()
    for path in ("/", "/var/lib/pinnace", "/boot/firmware"):
        try:
            about, device = os.statvfs(system.path(path)), os.stat(system.path(path)).st_dev
        except OSError:
            continue
        if device not in devices:
            devices.add(device)
            found[path] = [about.f_bavail * about.f_frsize, about.f_blocks * about.f_frsize]
    return found


def _memory(system: System) -> list[int] | None:
    """Available and whole bytes."""
    rows = dict(line.partition(":")[::2] for line in system.read_text("/proc/meminfo").splitlines())
    try:
        return [int(rows[name].split()[0]) * 1024 for name in ("MemAvailable", "MemTotal")]
    except KeyError:
        return None


def _temperature(system: System) -> float | None:
    value = _number(system.read_text(_THERMAL).strip())
    return None if value is None else value / 1000


def _throttled(system: System) -> list[str] | None:
    """What the firmware of a Raspberry Pi complains of; empty when it is content."""
    text = system.read_text(_THROTTLED).strip()
    if not text:
        status, output = system.run(["vcgencmd", "get_throttled"], 10)
        text = "" if status else output.strip().partition("=")[2]
    try:
        word = int(text, 16)
    except ValueError:
        return None
    return [name for bit, name in THROTTLING if word >> bit & 1]


def _units(system: System, units: list[str]) -> dict[str, str]:
    status, output = system.run(["systemctl", "is-active", "--", *units])
    words = output.split()
    if status == 127 or len(words) != len(units):
        return {}
    return dict(zip(units, words))  # noqa: B905 - strict= came with 3.10


def _failed(system: System) -> list[str]:
    _, output = system.run(["systemctl", "list-units", "--state=failed", "--no-legend", "--plain"])
    return [line.split()[0] for line in output.splitlines() if line.strip()]
