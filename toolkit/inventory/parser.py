"""Reads an inventory in Ansible's INI form.

What a line means depends on the section: a host with variables (split like a shell does, ``#``
begins a comment), a child group, or ``key=value`` for a whole group (the value is the rest of the
line). Values are typed as Ansible's INI plugin does: a Python literal where it is one, else text.
Every error names the file, the line and the column. ``group_vars/`` and ``host_vars/`` beside the file
are read too (:mod:`toolkit.inventory.files`).
"""

from __future__ import annotations

import ast
import io
import re
import shlex
import warnings
from pathlib import Path
from typing import Any

from toolkit.errors import UsageError
from toolkit.inventory import files, ranges
from toolkit.inventory.model import (
    ALL,
    PRIORITY,
    UNGROUPED,
    Group,
    Host,
    Inventory,
    Origin,
    Variable,
)

_SECTION = re.compile(r"\[(?P<name>[^:\]\s]+)(?::(?P<kind>\w+))?\]\s*(?:#.*)?")
_NAME = re.compile(r"(?P<name>[^:\]\s]+)\s*(?:#.*)?")
_IPV6 = re.compile(r"\[(?P<host>[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]+)\](?::(?P<port>\d+))?")
_PORT = re.compile(r"(?P<host>(?:[^:\[\]]|\[[^\]]*\])+):(?P<port>\d+)")
_BARE_IPV6 = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")


def load(path: Path) -> Inventory:
    """Read the inventory at ``path``, with the ``group_vars/`` and ``host_vars/`` beside it.

    Raises :class:`UsageError` with file, line and column.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as problem:
        raise UsageError(f"cannot read the inventory {path}: {problem.strerror}") from problem
    except UnicodeDecodeError as problem:
        raise UsageError(f"the inventory {path} is not UTF-8 text") from problem
    found = parse(text, str(path))
    beside = files.read(path.parent, found.groups, found.hosts)
    return Inventory(found.hosts, found.groups, found.path, beside)


def parse(text: str, path: str) -> Inventory:
    """The inventory that ``text`` describes, alone; ``path`` is what errors call it."""
    return _Parser(path).read(text)


def typed(text: str) -> Any:
    """A value as Ansible's INI plugin types it: ``1`` is a number, ``True`` a boolean, ``true`` text.

    Only what JSON has: a tuple or a set becomes a list, ``...`` and a complex number are text.
    """
    try:
        with warnings.catch_warnings():
            # '1is' and '\d' are text here, not dubious Python.
            warnings.simplefilter("ignore")
            return _plain(ast.literal_eval(text))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if value is ...:
        return "..."
    if isinstance(value, bytes):
        return value.decode()
    return str(value) if isinstance(value, complex) else value


class _Parser:
    def __init__(self, path: str) -> None:
        self._path = path
        self._hosts: dict[str, Host] = {}
        self._groups = {ALL: Group(ALL), UNGROUPED: Group(UNGROUPED)}
        self._origin = Origin(path, 0)
        # Groups that something refers to before (or without) their own section.
        self._wanted: dict[str, tuple[Origin, str]] = {}
        self._declared = {ALL, UNGROUPED}
        # Who named a group as a child before there was one.
        self._parents: dict[str, list[tuple[str, Origin]]] = {}

    def read(self, text: str) -> Inventory:
        group, kind = UNGROUPED, "hosts"
        for number, raw in enumerate(text.splitlines(), start=1):
            line = raw.strip()
            self._origin = Origin(self._path, number, raw.find(line) + 1)
            if not line or line[0] in "#;":
                continue
            if line.startswith("[") and not _IPV6.match(line):
                group, kind = self._section(line)
            elif kind == "hosts":
                self._host_line(group, line)
            elif kind == "children":
                self._child_line(group, line)
            else:
                self._group_variable(group, line)
        self._all_declared()
        self._measure_depths()
        self._leave_ungrouped()
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
            self._adopt(name)
        return name, kind

    def _host_line(self, group: str, line: str) -> None:
        try:
            words = [(word, self._origin_at(column)) for word, column in _words(line)]
        except ValueError as problem:
            raise self._error(f"the line cannot be split into words: {problem}") from problem
        if not words:
            return
        if words[0][0] == "---":
            raise self._error("'---' begins YAML; an inventory is read in INI form")
        try:
            address, port = _split_port(words[0][0])
            names = [address] if _BARE_IPV6.fullmatch(address) else ranges.expand(address)
        except ValueError as problem:
            raise self._error(str(problem)) from problem
        variables = dict(
            self._assignment(word, "a host variable", origin) for word, origin in words[1:]
        )
        for name in names:
            known = self._hosts.get(name)
            if known is None:
                known = self._hosts[name] = Host(name)
                if port is not None:
                    known.variables["ansible_port"] = Variable(port, self._origin)
            known.variables.update(variables)
            # Names that stand there twice go at the end: to look for each in a list takes its square.
            self._groups[group].hosts.append(name)

    def _group_variable(self, group: str, line: str) -> None:
        name, variable = self._assignment(line, f"a line of [{group}:vars]", self._origin)
        if name != PRIORITY:
            self._groups[group].variables[name] = variable
            return
        try:
            self._groups[group].priority = int(variable.value)
        except (TypeError, ValueError):
            raise self._error(f"{PRIORITY} is a whole number, not {variable.value!r}") from None

    def _child_line(self, group: str, line: str) -> None:
        match = _NAME.fullmatch(line)
        if match is None:
            raise self._error(f"{line!r} is not the name of a group")
        child = match["name"]
        self._wanted.setdefault(child, (self._origin, f"[{group}:children] names"))
        self._parents.setdefault(child, []).append((group, self._origin))
        if child in self._groups:
            self._adopt(child)

    def _adopt(self, child: str) -> None:
        """Put a group below those that named it: once there is one, as the order of children shows."""
        for parent, origin in self._parents.pop(child, []):
            if parent == child or parent in self._below(child):
                raise UsageError(f"{origin}: group {child!r} cannot be a child of {parent!r}: it contains it")  # fmt: skip
            if child not in self._groups[parent].children:
                self._groups[parent].children.append(child)

    def _assignment(self, text: str, what: str, origin: Origin) -> tuple[str, Variable]:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise UsageError(f"{origin}: {what} is written name=value, not {text!r}")
        return name, Variable(typed(value.strip()), origin)

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

    def _leave_ungrouped(self) -> None:
        """A host of a group is not among the ungrouped; one that only ``all`` lists is."""
        others = [group for group in self._groups.values() if group.name not in (ALL, UNGROUPED)]
        grouped = {name for group in others for name in group.hosts}
        for group in others:
            group.hosts = list(dict.fromkeys(group.hosts))
        ungrouped = self._groups[UNGROUPED]
        listed = [*ungrouped.hosts, *self._groups[ALL].hosts]
        ungrouped.hosts = [name for name in dict.fromkeys(listed) if name not in grouped]

    def _origin_at(self, offset: int) -> Origin:
        return Origin(self._path, self._origin.line, self._origin.column + offset)

    def _error(self, message: str) -> UsageError:
        return UsageError(f"{self._origin}: {message}")


def _split_port(word: str) -> tuple[str, int | None]:
    """``pi:2222`` -> (pi, 2222); an IPv6 address carries a port only in brackets."""
    bracketed = _IPV6.fullmatch(word)
    if bracketed is not None:
        return bracketed["host"], int(bracketed["port"]) if bracketed["port"] else None
    if _BARE_IPV6.fullmatch(word):
        return word, None
    if word.endswith(":"):
        raise ValueError(f"{word!r} ends where a port is expected")
    match = _PORT.fullmatch(word)
    return (match["host"], int(match["port"])) if match is not None else (word, None)


def _words(line: str) -> list[tuple[str, int]]:
    """The words of a host's line as a shell splits them, each with the offset where it begins.

    Raises ``ValueError`` for a quotation that is not closed.
    """
    source = io.StringIO(line)
    lexer = shlex.shlex(source, posix=True)
    lexer.whitespace_split = True
    found: list[tuple[str, int]] = []
    while True:
        behind = source.tell()
        word = lexer.get_token()
        if word is None:
            return found
        begin = behind + len(line[behind:]) - len(line[behind:].lstrip())
        found.append((word, begin))
