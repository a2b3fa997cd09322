"""systemd units: enabled for the next boot, running now."""

from __future__ import annotations

from toolkit.agent.errors import AgentError
from toolkit.agent.kinds.base import Change, Kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.agent.kinds.base import Contents, Resource, State
    from toolkit.agent.system import System

_PROPERTIES = "LoadState,ActiveState,UnitFileState,NeedDaemonReload"
_ENABLED = ("enabled", "enabled-runtime", "static", "indirect", "generated", "alias")
_START_SECONDS = 300


class Unit(Kind):
    """``unit``, ``enabled``, ``running`` (booleans)."""

    def inspect(self, resources: Sequence[Resource], system: System) -> list[State]:
        if not resources:
            return []
        names = [resource["unit"] for resource in resources]
        output = system.check(["systemctl", "show", "-p", _PROPERTIES, "--", *names])
        blocks = output.strip().split("\n\n")
        if len(blocks) != len(names):
            raise AgentError("systemctl show does not answer for each unit that it was asked for")
        pairs = [[line.partition("=") for line in block.splitlines()] for block in blocks]
        return [{name: value for name, _, value in block} for block in pairs]

    def look(self, resource: Resource, system: System) -> State:
        return self.inspect([resource], system)[0]

    def diff(self, resource: Resource, state: State) -> list[Change]:
        changes = []
        enabled = state.get("UnitFileState") in _ENABLED
        if enabled != resource["enabled"]:
            changes.append(Change("enabled", _word(enabled), _word(resource["enabled"])))
        active = state.get("ActiveState", "inactive")
        if (active in ("active", "reloading")) != resource["running"]:
            changes.append(Change("state", active, "active" if resource["running"] else "inactive"))
        return changes

    def apply(self, resource: Resource, system: System, contents: Contents) -> None:
        unit = resource["unit"]
        state = self.look(resource, system)
        if system.units_changed or state.get("NeedDaemonReload") == "yes":
            reload_units(system)
            state = self.look(resource, system)
        for change in self.diff(resource, state):
            if change.what == "enabled":
                verb = "enable" if resource["enabled"] else "disable"
                system.check(["systemctl", verb, unit], _START_SECONDS)
            elif resource["running"]:
                start("start", unit, system)
            else:
                system.check(["systemctl", "stop", unit], _START_SECONDS)


def reload_units(system: System) -> None:
    system.check(["systemctl", "daemon-reload"], _START_SECONDS)
    system.units_changed = False


def start(verb: str, unit: str, system: System) -> None:
    """Start or restart ``unit``; a failure is told with the last thing that the unit said."""
    if system.units_changed:
        reload_units(system)
    system.run(["systemctl", "reset-failed", unit])
    status, output = system.run(["systemctl", verb, unit], _START_SECONDS)
    if status:
        _, log = system.run(["journalctl", "-q", "-n", "3", "-o", "cat", "-u", unit])
        said = (log.strip() or output.strip()).replace("\n", " | ")
        raise AgentError(f"{unit} did not {verb}: {said}", f"on the board: journalctl -u {unit}")
    system.started.add(unit)


def _word(enabled: bool) -> str:
    return "enabled" if enabled else "disabled"
