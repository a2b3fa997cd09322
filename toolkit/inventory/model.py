"""Hosts, groups and their variables, with Ansible's rules for which value wins.

Source of the rules: Ansible's guide "How to build your inventory", sections on inheriting variable
values and on merging order (``all`` < parent groups < child groups < host; groups of equal depth by
``ansible_group_priority``, then by name).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

ALL = "all"
UNGROUPED = "ungrouped"
_PRIORITY = "ansible_group_priority"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a line stands: shown in front of every error about it."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class Variable:
    """A value and the line that set it."""

    value: Any
    origin: Origin


@dataclass(slots=True)
class Host:
    """A board as the inventory names it, with the variables set on its own lines."""

    name: str
    variables: dict[str, Variable] = field(default_factory=dict)


@dataclass(slots=True)
class Group:
    """A group: hosts listed in it, child groups, variables, and its distance from ``all``."""

    name: str
    hosts: list[str] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    variables: dict[str, Variable] = field(default_factory=dict)
    depth: int = 0

    @property
    def priority(self) -> int:
        """``ansible_group_priority``, 1 unless the group sets it."""
        set_to = self.variables.get(_PRIORITY)
        return set_to.value if set_to is not None and isinstance(set_to.value, int) else 1


class Inventory:
    """What an inventory file says; made by :func:`toolkit.inventory.parser.parse`."""

    def __init__(self, hosts: Mapping[str, Host], groups: Mapping[str, Group], path: str) -> None:
        self.hosts = dict(hosts)
        self.groups = dict(groups)
        self.path = path

    def members(self, group: str) -> list[str]:
        """The hosts of ``group`` and of the groups below it, each once, in the file's order."""
        if group == ALL:
            return list(self.hosts)
        inside = {name for below in self._descend(group) for name in self.groups[below].hosts}
        return [name for name in self.hosts if name in inside]

    def groups_of(self, host: str) -> list[str]:
        """The groups that ``host`` is in, in the order in which their variables are applied."""
        return [
            group.name
            for group in sorted(self.groups.values(), key=lambda g: (g.depth, g.priority, g.name))
            if host in self.members(group.name)
        ]

    def variables(self, host: str) -> dict[str, Variable]:
        """The variables that hold for ``host`` after all its groups, with their origins."""
        merged: dict[str, Variable] = {}
        for group in self.groups_of(host):
            merged.update(self.groups[group].variables)
        merged.update(self.hosts[host].variables)
        merged.pop(_PRIORITY, None)
        return merged

    def _descend(self, group: str) -> Iterator[str]:
        waiting, seen = [group], {group}
        while waiting:
            current = waiting.pop()
            yield current
            for child in self.groups[current].children:
                if child not in seen:
                    seen.add(child)
                    waiting.append(child)
