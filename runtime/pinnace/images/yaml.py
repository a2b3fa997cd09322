"""The part of YAML that configuration of image tools uses: maps, lists and plain values by indentation.

Block maps and lists, flow lists and maps of plain values, quoted strings, comments. Anything else (anchors,
tags, several documents, block scalars, tabs) is refused with its line, never guessed at.
Source: YAML 1.2.2, chapters 6 to 8.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from pinnace.errors import InvalidArgument

_MAX_BYTES = 1 << 20
_MAX_DEPTH = 32
_KEY = re.compile(
    r"""(?P<key>"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s#"'\[\]{},&*!|>%@`-][^#]*?|-[^\s#][^#]*?)\s*:(?=\s|$)"""
)
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}


class _Line(NamedTuple):
    number: int
    indent: int
    text: str


def parse(data: bytes, where: str) -> Any:
    """The document in *data*; raises InvalidArgument with file and line for what is not understood."""
    if len(data) > _MAX_BYTES:
        raise InvalidArgument(f"{where}: is larger than {_MAX_BYTES} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise InvalidArgument(f"{where}: is not UTF-8 text") from None
    reader = _Reader(text, where)
    value = reader.block(0, 0)
    if reader.lines:
        raise reader.error("wrong indentation")
    return value


class _Reader:
    def __init__(self, text: str, where: str) -> None:
        self._where = where
        self._last = 0
        self.lines: list[_Line] = []
        for number, line in enumerate(text.split("\n"), 1):
            body = line.rstrip()
            stripped = body.lstrip(" ")
            if not stripped or stripped.startswith("#") or (number == 1 and body == "---"):
                continue
            if "\t" in body[: len(body) - len(stripped) + 1]:
                raise InvalidArgument(f"{where}:{number}: indented with tabs")
            self.lines.append(_Line(number, len(body) - len(stripped), stripped))
        self.lines.reverse()

    def error(self, why: str) -> InvalidArgument:
        number = self.lines[-1].number if self.lines else self._last
        return InvalidArgument(f"{self._where}:{number}: {why}")

    def block(self, least: int, depth: int) -> Any:
        """What is indented by at least *least*; None when nothing is."""
        if depth > _MAX_DEPTH:
            raise self.error("nested too deeply")
        if not self.lines or self.lines[-1].indent < least:
            return None
        line = self.lines[-1]
        if line.text == "-" or line.text.startswith("- "):
            return self._list(line.indent, depth)
        if _KEY.match(line.text):
            return self._map(line.indent, depth)
        self._pop()
        return self._value(line.text)

    def _pop(self) -> _Line:
        line = self.lines.pop()
        self._last = line.number
        return line

    def _list(self, indent: int, depth: int) -> list[Any]:
        found = []
        while self.lines and self.lines[-1].indent == indent:
            line = self.lines[-1]
            if line.text != "-" and not line.text.startswith("- "):
                break
            self._pop()
            rest = line.text[1:].lstrip()
            if rest and not rest.startswith("#"):
                # What follows the dash is a block of its own, indented as far as it stands.
                inner = indent + len(line.text) - len(rest)
                self.lines.append(_Line(line.number, inner, rest))
            found.append(self.block(indent + 1, depth + 1))
        return found

    def _map(self, indent: int, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self.lines and self.lines[-1].indent == indent:
            match = _KEY.match(self.lines[-1].text)
            if match is None:
                raise self.error("neither a key nor a value is expected here")
            key = str(self._scalar(match["key"], words=False))
            if key in found:
                raise self.error(f"{key!r} stands there twice")
            rest = self.lines[-1].text[match.end() :].strip()
            line = self._pop()
            if rest and not rest.startswith("#"):
                self._last = line.number
                found[key] = self._value(rest)
            else:
                found[key] = self._nested(indent, depth)
        if self.lines and self.lines[-1].indent > indent:
            raise self.error("wrong indentation")
        return found

    def _nested(self, indent: int, depth: int) -> Any:
        """The value below a key; a list may stand right under it."""
        below = self.lines[-1] if self.lines else None
        if below and below.indent == indent and (below.text == "-" or below.text.startswith("- ")):
            return self._list(indent, depth + 1)
        return self.block(indent + 1, depth + 1)

    def _value(self, text: str) -> Any:
        if text[0] in "[{":
            return self._flow(text)
        if text[0] in "&*!|>%@`":
            raise InvalidArgument(f"{self._where}:{self._last}: {text[0]} is not supported")
        return self._scalar(text)

    def _scalar(self, text: str, *, words: bool = True) -> Any:
        mark = text[0]
        if mark in "\"'":
            end = _quoted_end(text)
            rest = text[end:].strip()
            if end < 0 or (rest and not rest.startswith("#")):
                raise InvalidArgument(f"{self._where}:{self._last}: a quote is not closed")
            return self._unquoted(text[:end])
        plain = text.partition(" #")[0].strip()
        if words and plain in _WORDS:
            return _WORDS[plain]
        return int(plain) if words and re.fullmatch(r"-?[0-9]{1,18}", plain) else plain

    def _unquoted(self, text: str) -> str:
        if text[0] == "'":
            return text[1:-1].replace("''", "'")
        try:
            return str(json.loads(text))
        except ValueError:
            raise InvalidArgument(f"{self._where}:{self._last}: malformed string {text}") from None

    def _flow(self, text: str) -> Any:
        """``[a, b]`` and ``{a: b}`` on one line, of plain values."""
        close = {"[": "]", "{": "}"}[text[0]]
        body = text.partition(" #")[0].strip()
        if not body.endswith(close):
            raise InvalidArgument(
                f"{self._where}:{self._last}: {text[0]} is not closed on its line"
            )
        items = [part.strip() for part in _parts(body[1:-1])]
        if text[0] == "[":
            return [self._scalar(item) for item in items if item]
        found: dict[str, Any] = {}
        for item in filter(None, items):
            match = _KEY.match(item)
            if match is None:
                raise InvalidArgument(f"{self._where}:{self._last}: {item!r} has no key")
            rest = item[match.end() :].strip()
            found[str(self._scalar(match["key"], words=False))] = self._scalar(rest) if rest else None  # fmt: skip
        return found


def _parts(text: str) -> list[str]:
    """Pieces between commas that are not quoted."""
    return re.findall(r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^,"'])+""", text)


def _quoted_end(text: str) -> int:
    match = re.match(r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*')""", text)
    return match.end() if match else -1
