"""containerd's filter language: ``name==x``, ``labels."k"==v``, ``id~=^web-``, joined by commas.

A filter is a list of conditions that must all hold; of a list of filters one must match. Grammar
(containerd's pkg/filters): ``field(.field)* [(==|!=|~=) value]``; fields and values may be quoted
as in Go, the value of ``~=`` also between ``/`` or ``|``. A field alone asks for its presence.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

from pinnace.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Fields = Callable[[Sequence[str]], str | None]
    """Looks up a field path in a thing; None when it has no such field."""
    Filter = Callable[[Fields], bool]

_FIELD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r"[=!~]+")
_VALUE = re.compile(r"[^\s,]+")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_MAX_LENGTH = 4096


class _Condition(NamedTuple):
    path: tuple[str, ...]
    operator: str
    value: str
    pattern: re.Pattern[str] | None = None

    def holds(self, fields: Fields) -> bool:
        found = fields(self.path)
        if self.operator == "":
            return found is not None
        if self.operator == "!=":
            return found != self.value
        if found is None:
            return False
        if self.pattern is not None:
            return self.pattern.search(found) is not None
        return found == self.value


def parse_all(texts: Sequence[str]) -> Filter:
    """A predicate that holds when any of the filters does; always, when there are none.

    Raises InvalidArgument with the place of a mistake.
    """
    if not texts:
        return lambda fields: True
    alternatives = [_Parser(text).conditions() for text in texts]
    return lambda fields: any(
        all(condition.holds(fields) for condition in conditions) for conditions in alternatives
    )


def labels_field(labels: Mapping[str, str], path: Sequence[str]) -> str | None:
    """Look up ``labels.<key>``, where the key may have dots of its own."""
    return labels.get(".".join(path[1:])) if len(path) > 1 else None


class _Parser:
    def __init__(self, text: str) -> None:
        if len(text) > _MAX_LENGTH:
            raise InvalidArgument(f"filter of {len(text)} characters is too long")
        self.text = text
        self.at = 0

    def conditions(self) -> list[_Condition]:
        found: list[_Condition] = []
        self._skip_spaces()
        if self.at == len(self.text):
            return found  # an empty filter matches everything, and clients send it
        while True:
            found.append(self._condition())
            self._skip_spaces()
            if self.at == len(self.text):
                return found
            if self.text[self.at] != ",":
                raise self._error("expected a comma")
            self.at += 1

    def _condition(self) -> _Condition:
        self._skip_spaces()
        path = [self._field()]
        while self.text[self.at : self.at + 1] == ".":
            self.at += 1
            path.append(self._field())
        operator = self._operator()
        if not operator:
            return _Condition(tuple(path), "", "")
        value = self._value(operator)
        pattern = None
        if operator == "~=":
            try:
                pattern = re.compile(value)
            except re.error as error:
                raise self._error(f"bad regular expression: {error}") from None
        return _Condition(tuple(path), operator, value, pattern)

    def _operator(self) -> str:
        """``==``, ``!=`` or ``~=``; empty where the field stands alone."""
        self._skip_spaces()
        if self.at == len(self.text) or self.text[self.at] == ",":
            return ""
        found = _OPERATOR.match(self.text, self.at)
        if found is None:
            raise self._error("expected an operator (`==`|`!=`|`~=`)")
        if found[0] not in ("==", "!=", "~="):
            raise self._error(f'unsupported operator "{found[0]}"')
        self.at = found.end()
        self._skip_spaces()
        return found[0]

    def _field(self) -> str:
        if self.text[self.at : self.at + 1] == '"':
            return self._quoted()
        found = self._match(_FIELD)
        if found is None:
            raise self._error("expected field or quoted")
        return found[0]

    def _value(self, operator: str) -> str:
        mark = self.text[self.at : self.at + 1]
        if mark == '"':
            return self._quoted()
        if operator == "~=" and mark in ("/", "|"):
            return self._delimited(mark)
        found = self._match(_VALUE)
        if found is None:
            raise self._error("expected value or quoted")
        return found[0]

    def _quoted(self) -> str:
        found = self._match(_QUOTED)
        if found is None:
            raise self._error("unclosed quote")
        try:
            return str(json.loads(found[0]))
        except ValueError:
            raise self._error("bad escape in quotes") from None

    def _delimited(self, mark: str) -> str:
        end = self.at + 1
        while end < len(self.text) and self.text[end] != mark:
            end += 2 if self.text[end] == "\\" else 1
        if end >= len(self.text):
            raise self._error(f"unclosed {mark}")
        inside = self.text[self.at + 1 : end]
        self.at = end + 1
        return inside.replace("\\" + mark, mark)

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self.text, self.at)
        if found is not None:
            self.at = found.end()
        return found

    def _skip_spaces(self) -> None:
        while self.text[self.at : self.at + 1].isspace():
            self.at += 1

    def _error(self, why: str) -> InvalidArgument:
        before, here, after = (
            self.text[: self.at],
            self.text[self.at : self.at + 1],
            self.text[self.at + 1 :],
        )
        shown = f"{before} >|{here}|< {after}" if here else before
        return InvalidArgument(f"filters: parse error: [{shown}]: {why}")
