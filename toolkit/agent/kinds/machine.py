"""The board itself: its clock, its name, its time zone, its next boot."""

from __future__ import annotations

import os
import stat
import time

from toolkit.agent.errors import AgentError
from toolkit.agent.kinds.base import Change, Kind
from toolkit.agent.kinds.lines import decode, put, rewrite, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.agent.kinds.base import Contents, Resource, State, Text
    from toolkit.agent.system import System

_KERNEL_NAME = "/proc/sys/kernel/hostname"
_HOSTS = "/etc/hosts"
_OWN_ADDRESS = "127.0.1.1"
"""Debian's address for the host's own name (Debian reference, 5.1.1)."""
_LOCALTIME = "/etc/localtime"
_ZONES = "/usr/share/zoneinfo"
_SYNCHRONISED = "/run/systemd/timesync/synchronized"


class Clock(Kind):
    """The clock is within ``tolerance`` seconds of ``offset`` + the monotonic clock at arrival.

    A Raspberry Pi has no clock that runs while it is off; with a clock years behind every
    certificate is invalid. ``now`` is the laptop's time (seconds since 1970) when the plan was sent.
    """

    def __init__(self) -> None:
        self._arrived = time.monotonic()

    def _wanted(self, resource: Resource) -> float:
        return float(resource["now"]) + time.monotonic() - self._arrived

    def look(self, resource: Resource, system: System) -> State:
        behind = self._wanted(resource) - time.time()
        synchronised = system.lstat(_SYNCHRONISED) is not None
        return {"behind": behind, "synchronised": synchronised}

    def diff(self, resource: Resource, state: State) -> list[Change]:
        behind = state["behind"]
        if abs(behind) <= resource["tolerance"]:
            return []
        words = f"{abs(behind):.0f} s {'behind' if behind > 0 else 'ahead'}"
        if state["synchronised"]:
            raise AgentError(
                f"the clock of the board, which a time server sets, is {words} of this machine's",
                "set this machine's clock, or clock_tolerance in the inventory",
            )
        return [Change("clock", words, "set to this machine's")]

    def apply(self, resource: Resource, system: System, contents: Contents) -> None:
        time.clock_settime(time.CLOCK_REALTIME, self._wanted(resource))


class Hostname(Kind):
    """``hostname``: the name now and after a reboot, and in /etc/hosts where programs look it up."""

    def look(self, resource: Resource, system: System) -> State:
        return {
            "saved": system.read_text("/etc/hostname").strip(),
            "kernel": system.read_text(_KERNEL_NAME).strip(),
            "hosts": decode(system.read(_HOSTS)),
        }

    def diff(self, resource: Resource, state: State) -> list[Change]:
        wanted = resource["hostname"]
        changes = []
        if state["kernel"] != wanted:
            changes.append(Change("hostname", state["kernel"], wanted))
        if state["saved"] != wanted:
            changes.append(Change("/etc/hostname", state["saved"] or "absent", wanted))
        if _hosts(wanted, state["hosts"]) != state["hosts"]:
            changes.append(Change(_HOSTS, "differs", f"{_OWN_ADDRESS} {wanted}"))
        return changes

    def texts(self, resource: Resource, state: State) -> list[Text]:
        after = _hosts(resource["hostname"], state["hosts"])
        return [(_HOSTS, shown(state["hosts"]), shown(after))] if after != state["hosts"] else []

    def places(self, resource: Resource, changes: Sequence[Change]) -> list[tuple[str, int]]:
        return [("/etc/hostname", 4096), (_HOSTS, 4096)]

    def apply(self, resource: Resource, system: System, contents: Contents) -> None:
        wanted = resource["hostname"]
        # sudo complains about a name that it cannot look up: the new one is there before it counts.
        text = decode(system.read(_HOSTS))
        rewrite(system, _HOSTS, text, _hosts(wanted, text))
        system.rewrite("/etc/hostname", (wanted + "\n").encode())
        system.changing(_KERNEL_NAME)
        with open(system.path(_KERNEL_NAME), "w", encoding="ascii") as file:
            file.write(wanted)


def _hosts(hostname: str, text: str) -> str:
    """/etc/hosts with the name at Debian's address for it, unless it is there at any."""
    rows = [line.partition("#")[0].split() for line in text.splitlines()]
    if any(hostname in row[1:] for row in rows):
        return text
    return put(text, f"{_OWN_ADDRESS}\t{hostname}", lambda line: line.split()[:1] == [_OWN_ADDRESS])


class Timezone(Kind):
    """``zone``: a name of the tz database, as in Europe/Berlin."""

    def look(self, resource: Resource, system: System) -> State:
        link = system.path(_LOCALTIME)
        target = os.readlink(link) if os.path.islink(link) else ""
        linked = target.partition("zoneinfo/")[2]
        return {
            "linked": linked,
            "saved": system.read_text("/etc/timezone").strip(),
            "known": system.lstat(f"{_ZONES}/{resource['zone']}") is not None,
        }

    def diff(self, resource: Resource, state: State) -> list[Change]:
        zone, changes = resource["zone"], []
        if state["linked"] != zone:
            changes.append(Change(_LOCALTIME, state["linked"] or "absent", zone))
        if state["saved"] != zone:
            changes.append(Change("/etc/timezone", state["saved"] or "absent", zone))
        return changes

    def places(self, resource: Resource, changes: Sequence[Change]) -> list[tuple[str, int]]:
        return [(_LOCALTIME, 4096)]

    def apply(self, resource: Resource, system: System, contents: Contents) -> None:
        # Looked at only now: a package of the same plan may have brought the zones.
        if not self.look(resource, system)["known"]:
            raise AgentError(f"the board knows no time zone {resource['zone']}", "is the package tzdata installed?")  # fmt: skip
        found = system.lstat(_LOCALTIME)
        if found is not None and not stat.S_ISLNK(found.st_mode):
            system.remove(_LOCALTIME)
        system.symlink(_LOCALTIME, f"..{_ZONES}/{resource['zone']}")
        system.rewrite("/etc/timezone", (resource["zone"] + "\n").encode())


class Reboot(Kind):
    """A reboot at this place of the plan, when something before it asked for one or the board does.

    Its change is not made here: the run ends, the laptop reboots the board and begins again.
    """

    def look(self, resource: Resource, system: System) -> State:
        why = [path for path in resource["when"] if system.lstat(path) is not None]
        return {"why": why + ([] if system.reboot_owed is None else [system.reboot_owed])}

    def diff(self, resource: Resource, state: State) -> list[Change]:
        return [Change("reboot", ", ".join(state["why"]), "done")] if state["why"] else []

    def apply(self, resource: Resource, system: System, contents: Contents) -> None:
        return
