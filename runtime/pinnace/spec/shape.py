"""The shape of a JSON value: a small language, and the check of a value against it.

A shape is a type (``str``), a range of integers, a list of one shape (an array of it), or a mapping of
known keys to shapes (an object; other keys are allowed). null is allowed everywhere: Go's clients write it
for what is empty.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from pinnace.errors import InvalidArgument

Shape: TypeAlias = "type | range | list[Shape] | dict[str, Shape]"

_NAMES = {
    str: "a text",
    int: "a number",
    bool: "true or false",
    dict: "an object",
    list: "an array",
}


def verify(value: Any, shape: Shape, path: str) -> None:
    """Raises InvalidArgument, naming the place below ``path`` (``process.``), where they do not agree."""
    if value is None:
        return
    if isinstance(shape, dict):
        _expect(value, dict, path)
        for key, found in value.items():
            if key in shape:
                verify(found, shape[key], f"{path}{key}." if path else f"{key}.")
    elif isinstance(shape, list):
        _expect(value, list, path)
        for index, found in enumerate(value):
            verify(found, shape[0], f"{path.rstrip('.')}[{index}].")
    elif isinstance(shape, range):
        _expect(value, int, path)
        if value not in shape:
            limits = f"{shape.start} to {shape.stop - 1}"
            raise InvalidArgument(f"{path.rstrip('.')} is {value}: {limits} is expected")
    else:
        _expect(value, shape, path)


def _expect(value: Any, kind: type, path: str) -> None:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InvalidArgument(f"{path.rstrip('.')} is not {_NAMES[kind]}: {value!r}"[:200])
