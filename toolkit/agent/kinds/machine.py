"""The board itself: its clock and its name."""

from __future__ import annotations

import time

from toolkit.agent.errors import AgentError
from toolkit.agent.kinds.base import Change, Kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from toolkit.agent.kinds.base import Contents, Resource, State
    from toolkit.agent.system import System

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
    """``hostname``: the name now and after a reboot."""

    def look(self, resource: Resource, system: System) -> State:
        return {
            "saved": system.read_text("/etc/hostname").strip(),
            "kernel": system.read_text("/proc/sys/kernel/hostname").strip(),
        }

    def diff(self, resource: Resource, state: State) -> list[Change]:
        wanted = resource["hostname"]
        if state == {"saved": wanted, "kernel": wanted}:
            return []
        return [Change("hostname", state["kernel"], wanted)]

    def places(self, resource: Resource) -> list[tuple[str, int]]:
        return [("/etc/hostname", 4096)]

    def apply(self, resource: Resource, system: System, contents: Contents) -> None:
        system.rewrite("/etc/hostname", (resource["hostname"] + "\n").encode())
        with open(system.path("/proc/sys/kernel/hostname"), "w", encoding="ascii") as file:
            file.write(resource["hostname"])
