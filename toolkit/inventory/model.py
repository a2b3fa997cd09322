"""Hosts, groups and their variables, with Ansible's rules for which value wins.

Source of the rules: Ansible's guide "How to build your inventory", sections on inheriting variable
values and on merging order (``all`` < parent groups < child groups < host; groups of equal depth by
``ansible_group_priority``, then by name). The inventory's own group variables come first, then those of
``group_vars/``, then the host's own, then those of ``host_vars/``.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ALL = "all"
UNGROUPED = "ungrouped"
PRIORITY = "ansible_group_priority"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where something stands, both counted from 1: shown in front of every error about it."""

    path: str
    line: int
    column: int = 1

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


Files = Mapping[tuple[str, str], "dict[str, Variable]"]
"""Variables of ``group_vars/`` and ``host_vars/``, by ``("group" or "host", name)``."""


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
    priority: int = 1


class Inventory:
    """What an inventory file says; made by :func:`toolkit.inventory.parser.parse`."""

    def __init__(
        self,
        hosts: Mapping[str, Host],
        groups: Mapping[str, Group],
        path: str,
        files: Files | None = None,
    ) -> None:
        self.hosts = dict(hosts)
        self.groups = dict(groups)
        self.path = path
        self._files = dict(files or {})

    def members(self, group: str) -> list[str]:
        """The hosts of ``group``, then those of the groups below it, level by level; each once."""
        names = (host for name in self._descend(group) for host in self.groups[name].hosts)
        return list(dict.fromkeys(names))

    def children(self, group: str) -> list[str]:
        """The groups directly below ``group``; below ``all`` are those that are below no other."""
        own = self.groups[group].children
        return self._top if group == ALL else own

    def groups_of(self, host: str) -> list[str]:
        """The groups that ``host`` is in, in the order in which their variables are applied."""
        return [name for name in self._order if host in self._inside[name]]

    def variables(self, host: str) -> dict[str, Variable]:
        """The variables that hold for ``host`` after all its groups, with their origins."""
        groups = self.groups_of(host)
        merged: dict[str, Variable] = {}
        for group in groups:
            merged.update(self.groups[group].variables)
        for group in groups:
            merged.update(self._files.get(("group", group), {}))
        return {**merged, **self.own_variables(host)}

    def own_variables(self, host: str) -> dict[str, Variable]:
        """The variables that are set for ``host`` itself, not through a group."""
        return {**self.hosts[host].variables, **self._files.get(("host", host), {})}

    def group_variables(self, group: str) -> dict[str, Variable]:
        """The variables that are set for ``group`` itself, not through one above it."""
        return {**self.groups[group].variables, **self._files.get(("group", group), {})}

    @functools.cached_property
    def _order(self) -> list[str]:
        ranked = sorted(self.groups.values(), key=lambda g: (g.depth, g.priority, g.name))
        return [group.name for group in ranked]

    @functools.cached_property
    def _inside(self) -> dict[str, set[str]]:
        return {name: set(self.members(name)) for name in self.groups}

    @functools.cached_property
    def _top(self) -> list[str]:
        inner = {child for group in self.groups.values() for child in group.children}
        top = [name for name in self.groups if name not in inner | {ALL, UNGROUPED}]
        return list(dict.fromkeys([UNGROUPED, *self.groups[ALL].children, *top]))

    def _descend(self, group: str) -> list[str]:
        """``group`` and all groups below it, those nearest to it first."""
        found = {group: None}
        level = [group]
        while level:
            below = [child for name in level for child in self.children(name)]
            level = [name for name in dict.fromkeys(below) if name not in found]
            found.update(dict.fromkeys(level))
        return list(found)
