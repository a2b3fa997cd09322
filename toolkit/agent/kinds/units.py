"""systemd units: their files, enabled for the next boot, running now."""

from __future__ import annotations

import os

from toolkit.agent.errors import AgentError
from toolkit.agent.kinds.base import Change, Kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.agent.kinds.base import Contents, Resource, State, Text
    from toolkit.agent.system import System

_PROPERTIES = "LoadState,ActiveState,UnitFileState,NeedDaemonReload,FragmentPath"
_ENABLED = ("enabled", "enabled-runtime", "indirect", "alias")
_NEITHER = ("static", "generated", "transient")
"""States of units that cannot be enabled or disabled: something else starts them (systemctl(1))."""
_START_SECONDS = 300
_DIRECTORY = "/etc/systemd/system"
_TRIAL = "/run/pinnace-agent-units"


class Unit(Kind):
    """``unit``, ``enabled``, ``running`` (booleans), ``files``: path below /etc/systemd/system to text."""

    def inspect(self, resources: Sequence[Resource], system: System) -> list[State]:
        if not resources:
            return []
        names = [resource["unit"] for resource in resources]
        output = system.check(["systemctl", "show", "-p", _PROPERTIES, "--", *names])
        blocks = output.strip().split("\n\n")
        if len(blocks) != len(names):
            raise AgentError("systemctl show does not answer for each unit that it was asked for")
        states: list[State] = []
        for resource, block in zip(resources, blocks):  # noqa: B905 - strict= came with 3.10
            pairs = [line.partition("=") for line in block.splitlines()]
            state: State = {name: value for name, _, value in pairs}
            state["files"] = {
                name: _text(system.read(f"{_DIRECTORY}/{name}")) for name in resource["files"]
            }
            states.append(state)
        return states

    def look(self, resource: Resource, system: System) -> State:
        return self.inspect([resource], system)[0]

    def diff(self, resource: Resource, state: State) -> list[Change]:
        changes = [
            Change(
                f"{_DIRECTORY}/{name}",
                "absent" if state["files"][name] is None else "differs",
                "written",
            )
            for name in _changed(resource, state)
        ]
        enabled = state.get("UnitFileState") in _ENABLED
        if enabled != resource["enabled"] and state.get("UnitFileState") not in _NEITHER:
            changes.append(Change("enabled", _word(enabled), _word(resource["enabled"])))
        active = state.get("ActiveState", "inactive")
        if (active in ("active", "reloading")) != resource["running"]:
            changes.append(Change("state", active, "active" if resource["running"] else "inactive"))
        return changes

    def calls(self, changes: Sequence[Change]) -> bool:
        # A unit that was only enabled or started does not have to be restarted.
        return any(change.what.startswith("/") for change in changes)

    def starts(self, resource: Resource, changes: Sequence[Change]) -> str:
        started = any((change.what, change.after) == ("state", "active") for change in changes)
        return str(resource["unit"]) if started else ""

    def texts(self, resource: Resource, state: State) -> list[Text]:
        return [
            (f"{_DIRECTORY}/{name}", state["files"][name], resource["files"][name])
            for name in _changed(resource, state)
        ]

    def places(self, resource: Resource, changes: Sequence[Change]) -> list[tuple[str, int]]:
        return [(f"{_DIRECTORY}/{name}", 65536) for name in resource["files"]]

    def apply(self, resource: Resource, system: System, contents: Contents) -> None:
        unit = resource["unit"]
        state = self.look(resource, system)
        changed = _changed(resource, state)
        if changed:
            verify(resource, state, system)
            for name in changed:
                data = iter((resource["files"][name].encode(),))
                system.write(f"{_DIRECTORY}/{name}", data, 0o644, os.getuid(), os.getgid())
            system.units_changed = True
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


def verify(resource: Resource, state: State, system: System) -> None:
    """Raise :class:`AgentError` when systemd would refuse the unit's files or ignore parts of them.

    They are tried in a directory that stands before the board's own ones in systemd's search path.
    """
    import shutil

    trial = system.path(_TRIAL)
    shutil.rmtree(trial, ignore_errors=True)
    try:
        for name, text in resource["files"].items():
            system.make_directory(os.path.dirname(f"{_TRIAL}/{name}"))
            with open(f"{trial}/{name}", "w", encoding="utf-8") as file:
                file.write(text)
        status, output = system.run(["env", f"SYSTEMD_UNIT_PATH={_TRIAL}:", "systemd-analyze", "verify", "--man=no", resource["unit"]])  # fmt: skip
    finally:
        shutil.rmtree(trial, ignore_errors=True)
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    # "Ignoring" what is not understood is no failure to systemd; it is one to who wrote it.
    about_ours = [line for line in lines if line.startswith(_TRIAL)]
    if about_ours or status:
        said = "; ".join(about_ours or lines[:3]).replace(f"{_TRIAL}/", "") or f"status {status}"
        raise AgentError(f"{resource['unit']} is not a good unit and was not installed: {said}")


def _changed(resource: Resource, state: State) -> list[str]:
    return [name for name, text in resource["files"].items() if state["files"][name] != text]


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode("utf-8", "replace")


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
