"""Functions and notations of Go's templates, over values as JSON has them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from pinnace.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable


class _NoValue:
    """A key that a map does not have."""


NO_VALUE = _NoValue()
_VERB = re.compile(r"%([-+# 0]*)(\d+)?(?:\.(\d+))?([a-zA-Z%])")
_MAX_WIDTH = 1000


class Nil:
    """A list or map that is nil in Go: ``null`` in JSON, and *shown* as an empty one."""

    def __init__(self, shown: str) -> None:
        self.shown = shown

    def __len__(self) -> int:
        return 0


NIL_LIST, NIL_MAP = Nil("[]"), Nil("map[]")


class Struct(dict[str, Any]):
    """What is a struct in Go, not a map: its values are shown in order, without names."""


def show(value: Any) -> str:
    """A value as Go's ``fmt`` prints it (``%v``)."""
    if isinstance(value, Nil):
        return value.shown
    if isinstance(value, Struct):
        return f"{{{' '.join(map(show, value.values()))}}}"
    if value is NO_VALUE:
        return "<no value>"
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{show(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(show, value))}]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def truth(value: Any) -> bool:
    """Whether Go's ``if`` takes the value: anything but zero, empty and nil."""
    return value is not NO_VALUE and bool(value)


def pairs(value: Any) -> list[tuple[Any, Any]]:
    """What ``range`` goes over; maps in the order of their keys."""
    if isinstance(value, dict):
        return sorted(value.items())
    if isinstance(value, list):
        return list(enumerate(value))
    if value is None or value is NO_VALUE or isinstance(value, Nil):
        return []
    raise InvalidArgument(f"template: cannot range over {show(value)}")


def unquote(word: str) -> str:
    """The text of a Go string in double or back quotes."""
    if word[0] == "`":
        return word[1:-1]
    try:
        return str(json.loads(word))
    except ValueError:
        raise InvalidArgument(f"template: malformed string {word}") from None


def call(name: str, values: list[Any]) -> Any:
    """The value of a function; raises InvalidArgument for values that do not suit it."""
    try:
        return FUNCTIONS[name](*values)
    except (TypeError, ValueError, AttributeError, IndexError, KeyError):
        shown = " ".join(show(value) for value in values)[:80]
        raise InvalidArgument(f"template: {name} cannot be used on {shown}") from None


def _printf(form: str, *values: Any) -> str:
    left = list(values)

    def one(match: re.Match[str]) -> str:
        flags, width, precision, verb = match.groups()
        if verb == "%":
            return "%"
        if not left:
            return f"%!{verb}(MISSING)"
        text = _verb(verb, left.pop(0), flags, precision)
        size = min(int(width or 0), _MAX_WIDTH)
        if "-" in flags:
            return text.ljust(size)
        return text.rjust(size, "0" if "0" in flags else " ")

    return _VERB.sub(one, form)


def _verb(verb: str, value: Any, flags: str, precision: str | None) -> str:
    if verb == "q":
        return json.dumps(show(value), ensure_ascii=False)
    if verb in "dxXob":
        return format(int(value), {"d": "+d" if "+" in flags else "d"}.get(verb, verb))
    if verb in "fFeEgG":
        return format(float(value), f".{int(precision or 6)}{verb}")
    if verb in "vsT":
        text = show(value)
        return text if precision is None else text[: int(precision)]
    return f"%!{verb}({show(value)})"


def _println(*values: Any) -> str:
    return " ".join(show(value) for value in values) + "\n"


def _json(value: Any) -> str:
    plain = None if value is NO_VALUE else value
    return json.dumps(plain, separators=(",", ":"), ensure_ascii=False, default=_nothing)


def _nothing(value: object) -> None:
    """What JSON has for values of ours that it does not know."""
    if not isinstance(value, Nil):
        raise TypeError(f"{type(value).__name__} is not JSON")


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, NO_VALUE)
        elif isinstance(value, list) and isinstance(key, int) and 0 <= key < len(value):
            value = value[key]
        else:
            raise IndexError(key)
    return value


def _and(*values: Any) -> Any:
    return next((value for value in values if not truth(value)), values[-1])


def _or(*values: Any) -> Any:
    return next((value for value in values if truth(value)), values[-1])


def _slice(value: Any, *ends: int) -> Any:
    return value[slice(*ends)] if ends else value


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": _and,
    "or": _or,
    "not": lambda value: not truth(value),
    "eq": lambda first, *others: any(first == other for other in others),
    "ne": lambda first, second: first != second,
    "lt": lambda first, second: first < second,
    "le": lambda first, second: first <= second,
    "gt": lambda first, second: first > second,
    "ge": lambda first, second: first >= second,
    "len": len,
    "index": _index,
    "slice": _slice,
    "print": lambda *values: "".join(map(show, values)),
    "printf": _printf,
    "println": _println,
    "json": _json,
    "join": lambda values, mark: mark.join(map(show, values or [])),
    "split": lambda text, mark: text.split(mark),
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "title": lambda text: text[:1].upper() + text[1:],
    "truncate": lambda text, size: text[:size],
    "pad": lambda text, before, after: " " * before + text + " " * after if text else text,
}
