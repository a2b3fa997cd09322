"""Host patterns, as on Ansible's command line: ``all``, ``pi``, ``a:b``, ``a,b``, ``!c``, ``&d``.

A term is a host, a group, a shell glob over both, or ``~`` and a regular expression; ``[0]``,
``[-1]`` and ``[0:2]`` (both ends included) pick from what it named. Terms with ``&`` keep only what
they name too, terms with ``!`` take away, whatever the order in which they are written. ``@FILE`` stands for
the terms in a file, one a line. What names nothing is an error (Ansible warns and goes on).
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from pathlib import Path

from toolkit.errors import UsageError
from toolkit.inventory.model import Inventory

_SLICE = re.compile(r"(?P<term>.+)\[(?:(?P<index>-?\d+)|(?P<first>\d+):(?P<last>\d*))\]")


def select(inventory: Inventory, pattern: str) -> list[str]:
    """The hosts that ``pattern`` names, each once; raises :class:`UsageError` when it names none."""
    terms = [found for term in _split(inventory, pattern) for found in _from_file(term)]
    plain = [term for term in terms if term[0] not in "&!"] or ["all"]
    chosen: dict[str, None] = {}
    for term in plain:
        chosen.update(dict.fromkeys(_matching(inventory, term)))
    for term in terms:
        if term[0] == "&":
            kept = set(_matching(inventory, term[1:]))
            chosen = {name: None for name in chosen if name in kept}
    for term in terms:
        if term[0] == "!":
            removed = set(_matching(inventory, term[1:]))
            chosen = {name: None for name in chosen if name not in removed}
    if not chosen:
        raise UsageError(f"the pattern {pattern!r} leaves no host of {inventory.path}")
    return list(chosen)


def _split(inventory: Inventory, pattern: str) -> list[str]:
    if "," in pattern:
        terms = pattern.split(",")
    elif pattern.strip() in inventory.hosts:
        terms = [pattern]  # an IPv6 address is full of colons
    else:
        terms = re.findall(r"(?:[^:\[\]]|\[[^\]]*\]?|\])+", pattern)
    terms = [term.strip() for term in terms if term.strip()]
    if not terms or any(term in ("!", "&") for term in terms):
        raise UsageError(f"{pattern!r} is not a host pattern", hint="give a host, a group, or for example 'boards:!pi'")  # fmt: skip
    return terms


def _from_file(term: str) -> list[str]:
    """The term itself, or the terms of the file that it names."""
    if not term.startswith("@"):
        return [term]
    try:
        lines = Path(term[1:]).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError(f"cannot read the host patterns of {term[1:]}: {problem}") from problem
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _matching(inventory: Inventory, term: str) -> list[str]:
    whole = term in inventory.hosts or term.startswith("~")  # a regular expression has brackets too
    sliced = None if whole else _SLICE.fullmatch(term)
    if sliced is None:
        return _named(inventory, term)
    found = _named(inventory, sliced["term"])
    if sliced["index"] is not None:
        index = int(sliced["index"])
        if not -len(found) <= index < len(found):
            raise UsageError(f"{term!r}: {sliced['term']} has {len(found)} hosts")
        return [found[index]]
    last = int(sliced["last"]) + 1 if sliced["last"] else None
    return found[int(sliced["first"]) : last]


def _named(inventory: Inventory, term: str) -> list[str]:
    if term in inventory.hosts:
        return [term]
    if term in inventory.groups:
        return inventory.members(term)
    if term.startswith("~") or any(letter in term for letter in "*?["):
        return _globbed(inventory, term)
    near = difflib.get_close_matches(term, [*inventory.hosts, *inventory.groups], n=1)
    known = ", ".join(inventory.hosts) or "none"
    hint = f"did you mean {near[0]!r}?" if near else f"hosts there: {known}"
    raise UsageError(f"no host or group {term!r} in {inventory.path}", hint=hint)


def _globbed(inventory: Inventory, term: str) -> list[str]:
    try:
        matches = re.compile(term[1:] if term.startswith("~") else fnmatch.translate(term)).match
    except re.error as problem:
        raise UsageError(f"{term!r} is not a regular expression: {problem}") from problem
    # Hosts of the groups that match come first, each group in its own order.
    found = [host for name in inventory.groups if matches(name) for host in inventory.members(name)]
    return list(dict.fromkeys([*found, *(host for host in inventory.hosts if matches(host))]))
