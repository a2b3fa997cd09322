"""``./inv inventory``: what an inventory says, as JSON, as a tree or for one host.

The JSON is that of ``ansible-inventory``: what reads the one reads the other.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from toolkit.errors import UsageError
from toolkit.inventory.model import ALL, PRIORITY, Inventory, Variable
from toolkit.secrets.references import TAG
from toolkit.secrets.secret import Secret

_PROFILE = "inventory_legacy"
"""How ansible-core 2.19 calls this form of JSON."""


def listing(
    inventory: Inventory, hosts: Sequence[str] | None = None, *, export: bool = False
) -> dict[str, Any]:
    """All groups and hosts, and under ``_meta`` every host's variables.

    ``hosts`` leaves out the others. With ``export`` a group has its own variables under ``vars``, and a
    host only its own.
    """
    shown = set(inventory.hosts if hosts is None else hosts)
    groups = {}
    for name in _reachable(inventory):
        group = inventory.groups[name]
        entry: dict[str, Any] = {}
        if name != ALL:
            entry["hosts"] = [host for host in group.hosts if host in shown]
        entry["children"] = inventory.children(name)
        if export:
            entry["vars"] = _of_group(inventory, name)
        entry = {key: value for key, value in entry.items() if value}
        if entry:
            groups[name] = entry
    of_host = inventory.own_variables if export else inventory.variables
    variables = {host: _values(of_host(host)) for host in inventory.hosts if host in shown}
    meta = {"hostvars": {host: found for host, found in variables.items() if found}}
    return {**groups, "_meta": {**meta, "profile": _PROFILE}}


def graph(inventory: Inventory, group: str = ALL, *, variables: bool = False) -> list[str]:
    """The tree of groups and hosts below ``group``, a line each; with their variables where wanted."""
    if group not in inventory.groups:
        raise UsageError(f"there is no group {group!r} in {inventory.path}")
    return list(_branch(inventory, group, 0, variables))


def host(inventory: Inventory, name: str) -> dict[str, Any]:
    """The variables of one host."""
    if name not in inventory.hosts:
        raise UsageError(f"there is no host {name!r} in {inventory.path}")
    return _values(inventory.variables(name))


def dump(value: Any) -> str:
    """``value`` as JSON with sorted keys, for people and programs alike."""
    return json.dumps(value, indent=4, sort_keys=True, default=_date, ensure_ascii=False)


def _branch(inventory: Inventory, name: str, depth: int, variables: bool) -> Iterator[str]:
    yield _line(f"@{name}:", depth)
    for child in inventory.children(name):
        yield from _branch(inventory, child, depth + 1, variables)
    for member in inventory.groups[name].hosts if name != ALL else []:
        yield _line(member, depth + 1)
        if variables:
            yield from _assignments(_values(inventory.variables(member)), depth + 2)
    if variables:
        yield from _assignments(_of_group(inventory, name), depth + 1)


def _assignments(values: Mapping[str, Any], depth: int) -> Iterator[str]:
    for name, value in sorted(values.items()):
        yield _line(f"{{{name} = {value}}}", depth)


def _line(text: str, depth: int) -> str:
    return "  |" * depth + "--" + text if depth else text


def _reachable(inventory: Inventory) -> list[str]:
    found: dict[str, None] = {}
    waiting = [ALL]
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found[name] = None
            waiting += inventory.children(name)
    return list(found)


def _of_group(inventory: Inventory, name: str) -> dict[str, Any]:
    found = _values(inventory.group_variables(name))
    priority = inventory.groups[name].priority
    return found if priority == 1 else {**found, PRIORITY: priority}


def _values(variables: Mapping[str, Variable]) -> dict[str, Any]:
    return {name: variable.value for name, variable in variables.items()}


def _date(value: Any) -> str:
    if isinstance(value, datetime.date | datetime.datetime):
        return value.isoformat()
    return f"{TAG} {value.name}" if isinstance(value, Secret) else str(value)
