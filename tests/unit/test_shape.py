"""The shape language: what agrees, and how what does not is named."""

from __future__ import annotations

from typing import Any

import pytest

from pinnace.errors import InvalidArgument
from pinnace.spec.shape import Shape, verify

_BOAT: Shape = {"name": str, "crew": [{"age": range(150)}], "afloat": bool, "masts": int}


@pytest.mark.parametrize(
    "value",
    [{}, None, {"name": None}, {"crew": [{"age": 0}, None, {}]}, {"more": [1]}, {"masts": -1}],
)
def test_what_agrees(value: Any) -> None:
    verify(value, _BOAT, "boat.")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "^boat is not an object"),
        ({"name": 1}, "^boat.name is not a text: 1"),
        ({"afloat": 1}, "^boat.afloat is not true or false"),
        ({"masts": True}, "^boat.masts is not a number"),
        ({"crew": {}}, "^boat.crew is not an array"),
        ({"crew": [{}, {"age": 150}]}, r"^boat.crew\[1\].age is 150: 0 to 149 is expected"),
        ({"crew": [{"age": 1.5}]}, r"^boat.crew\[0\].age is not a number"),
    ],
)
def test_what_does_not_agree_is_named(value: Any, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        verify(value, _BOAT, "boat.")
