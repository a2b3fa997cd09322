"""TOML with the place of each key: reading for errors that name a line, and writing.

The parser is the standard library's ``tomllib``, imported only when there is a file to read.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from pinnace.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Path = tuple[str, ...]

_PART = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*(\.|=|\]|$)""")
_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")


def parse(text: str, name: str) -> dict[str, Any]:
    """The document; raises InvalidArgument as ``name:line: reason``."""
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        message = str(problem)
        place = _PLACE.search(message)
        line = int(place[1]) if place and place[1] else text.count("\n") + 1
        raise InvalidArgument(f"{name}:{line}: {_PLACE.sub('', message)}") from None


def line_of(text: str, path: Path) -> int:
    """The line (from 1) that sets ``path`` or its nearest parent; 1 when none does.

    The document is known to be valid, so a line that looks like a key almost always is one.
    """
    best, depth = 1, 0
    for number, found in _keys(text):
        common = 0
        while common < min(len(found), len(path)) and found[common] == path[common]:
            common += 1
        if common > depth and common == min(len(found), len(path)):
            best, depth = number, common
    return best


def _keys(text: str) -> Iterator[tuple[int, Path]]:
    table: Path = ()
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("["):
            table = _dotted(stripped.lstrip("["))
            yield number, table
        elif "=" in stripped and not stripped.startswith("#"):
            key = _dotted(stripped)
            if key:
                yield number, table + key


def _dotted(text: str) -> Path:
    parts: list[str] = []
    position = 0
    while match := _PART.match(text, position):
        parts.append(next(group for group in match.groups()[:3] if group is not None))
        position = match.end()
        if match[4] != ".":
            break
    return tuple(parts)


def show(path: Path) -> str:
    """A path as one writes it in TOML."""
    return ".".join(part if _BARE.match(part) else json.dumps(part) for part in path)


def dump(document: Mapping[str, Any]) -> str:
    """Write tables, strings, integers, floats, booleans and lists of these."""
    return "\n".join(_table(document, ())).strip() + "\n"


def _table(table: Mapping[str, Any], path: Path) -> Iterator[str]:
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    if path and (plain or not table):
        yield ""
        yield f"[{show(path)}]"
    for key, value in plain.items():
        yield f"{show((key,))} = {_value(value)}"
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _table(value, (*path, key))


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value)  # TOML's basic strings have JSON's escapes
    return str(value)
