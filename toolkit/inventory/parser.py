"""Reads an inventory in Ansible's INI form.

What a line means depends on the section: a host with variables (split like a shell does, ``#``
begins a comment), a child group, or ``key=value`` for a whole group (the value is the rest of the
line). Values are typed as Ansible's INI plugin does: a Python literal where it is one, else text.
Every error names the file and the line.
"""

from __future__ import annotations

import ast
import re
import shlex
import warnings
from pathlib import Path
from typing import Any

from toolkit.errors import UsageError
from toolkit.inventory import ranges
from toolkit.inventory.model import ALL, UNGROUPED, Group, Host, Inventory, Origin, Variable

_SECTION = re.compile(r"\[(?P<name>[^:\]\s]+)(?::(?P<kind>\w+))?\]\s*(?:#.*)?")
_NAME = re.compile(r"(?P<name>[^:\]\s]+)\s*(?:#.*)?")
_IPV6 = re.compile(r"\[(?P<host>[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]+)\](?::(?P<port>\d+))?")
_PORT = re.compile(r"(?P<host>(?:[^:\[\]]|\[[^\]]*\])+):(?P<port>\d+)")
_BARE_IPV6 = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")


def load(path: Path) -> Inventory:
    """Read the inventory file at ``path``; raises :class:`UsageError` with file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as problem:
        raise UsageError(f"cannot read the inventory {path}: {problem.strerror}") from problem
    except UnicodeDecodeError as problem:
        raise UsageError(f"the inventory {path} is not UTF-8 text") from problem
    return parse(text, str(path))


def parse(text: str, path: str) -> Inventory:
    """The inventory that ``text`` describes; ``path`` is what errors call it."""
    return _Parser(path).read(text)


def typed(text: str) -> Any:
    """A value as Ansible's INI plugin types it: ``1`` is a number, ``True`` a boolean, ``true`` text."""
    try:
        with warnings.catch_warnings():
            # '1is' and '\d' are text here, not dubious Python.
            warnings.simplefilter("ignore")
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


class _Parser:
    def __init__(self, path: str) -> None:
        self._path = path
        self._hosts: dict[str, Host] = {}
        self._groups = {ALL: Group(ALL), UNGROUPED: Group(UNGROUPED)}
        self._origin = Origin(path, 0)
        # Groups that something refers to before (or without) their own section.
        self._wanted: dict[str, tuple[Origin, str]] = {}
        self._declared = {ALL, UNGROUPED}

    def read(self, text: str) -> Inventory:
        group, kind = UNGROUPED, "hosts"
        for number, raw in enumerate(text.splitlines(), start=1):
            self._origin = Origin(self._path, number)
            line = raw.strip()
            if not line or line[0] in "#;":
                continue
            if line.startswith("[") and not _IPV6.match(line):
                group, kind = self._section(line)
            elif kind == "hosts":
                self._host_line(group, line)
            elif kind == "children":
                self._child_line(group, line)
            else:
                name, variable = self._assignment(line, f"a line of [{group}:vars]")
                self._groups[group].variables[name] = variable
        self._all_declared()
        self._measure_depths()
        return Inventory(self._hosts, self._groups, self._path)

    def _section(self, line: str) -> tuple[str, str]:
        match = _SECTION.fullmatch(line)
        if match is None:
            raise self._error(f"{line!r} is not a section: it should look like [group], [group:children] or [group:vars]")  # fmt: skip
        name, kind = match["name"], match["kind"] or "hosts"
        if kind not in ("hosts", "children", "vars"):
            raise self._error(f"[{name}:{kind}] has an unknown type: children and vars exist")
        self._groups.setdefault(name, Group(name))
        if kind == "vars":
            self._wanted.setdefault(name, (self._origin, f"[{name}:vars] sets variables of"))
        else:
            self._declared.add(name)
        return name, kind

    def _host_line(self, group: str, line: str) -> None:
        try:
            words = shlex.split(line, comments=True)
        except ValueError as problem:
            raise self._error(f"the line cannot be split into words: {problem}") from problem
        if not words:
            return
        address, port = _split_port(words[0])
        try:
            names = [address] if _BARE_IPV6.fullmatch(address) else ranges.expand(address)
        except ValueError as problem:
            raise self._error(str(problem)) from problem
        variables = dict(self._assignment(word, "a host variable") for word in words[1:])
        if port is not None:
            variables.setdefault("ansible_port", Variable(port, self._origin))
        for name in names:
            self._hosts.setdefault(name, Host(name)).variables.update(variables)
            if name not in self._groups[group].hosts:
                self._groups[group].hosts.append(name)

    def _child_line(self, group: str, line: str) -> None:
        match = _NAME.fullmatch(line)
        if match is None:
            raise self._error(f"{line!r} is not the name of a group")
        child = match["name"]
        self._groups.setdefault(child, Group(child))
        self._wanted.setdefault(child, (self._origin, f"[{group}:children] names"))
        if group == child or group in self._below(child):
            raise self._error(f"group {child!r} cannot be a child of {group!r}: it contains it")
        if child not in self._groups[group].children:
            self._groups[group].children.append(child)

    def _assignment(self, text: str, what: str) -> tuple[str, Variable]:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise self._error(f"{what} is written name=value, not {text!r}")
        return name, Variable(typed(value.strip()), self._origin)

    def _below(self, group: str) -> set[str]:
        found: set[str] = set()
        waiting = list(self._groups[group].children)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting.extend(self._groups[name].children)
        return found

    def _all_declared(self) -> None:
        for name, (origin, what) in self._wanted.items():
            if name not in self._declared:
                raise UsageError(f"{origin}: {what} the group {name!r}, which is nowhere declared")

    def _measure_depths(self) -> None:
        """A group's depth is its longest way down from ``all``."""
        inner = {child for group in self._groups.values() for child in group.children}
        waiting = [(name, 1) for name in self._groups if name not in inner and name != ALL]
        waiting += [(name, 1) for name in self._groups[ALL].children]
        while waiting:
            name, depth = waiting.pop()
            group = self._groups[name]
            if depth > group.depth:
                group.depth = depth
                waiting.extend((child, depth + 1) for child in group.children)

    def _error(self, message: str) -> UsageError:
        return UsageError(f"{self._origin}: {message}")


def _split_port(word: str) -> tuple[str, int | None]:
    """``pi:2222`` -> (pi, 2222); an IPv6 address carries a port only in brackets."""
    bracketed = _IPV6.fullmatch(word)
    if bracketed is not None:
        return bracketed["host"], int(bracketed["port"]) if bracketed["port"] else None
    if _BARE_IPV6.fullmatch(word):
        return word, None
    match = _PORT.fullmatch(word)
    return (match["host"], int(match["port"])) if match is not None else (word, None)
