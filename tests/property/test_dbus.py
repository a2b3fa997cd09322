"""D-Bus values go through bytes unchanged, and no bytes do more than raise WireError."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace.linux.dbus import wire
from pinnace.linux.dbus.wire import Variant, WireError

_TEXT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=9)
_BASIC: dict[str, st.SearchStrategy[Any]] = {
    "y": st.integers(0, 255), "b": st.booleans(), "n": st.integers(-(1 << 15), (1 << 15) - 1),
    "q": st.integers(0, (1 << 16) - 1), "i": st.integers(-(1 << 31), (1 << 31) - 1),
    "u": st.integers(0, (1 << 32) - 1), "x": st.integers(-(1 << 63), (1 << 63) - 1),
    "t": st.integers(0, (1 << 64) - 1), "d": st.floats(allow_nan=False), "s": _TEXT,
    "o": st.just("/a/b"), "g": st.just("a{sv}"),
}  # fmt: skip
Typed = tuple[str, st.SearchStrategy[Any]]


def _basic() -> st.SearchStrategy[Typed]:
    return st.sampled_from(sorted(_BASIC.items()))


def _containers(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    def array(of: Typed) -> Typed:
        kind, values = of
        return ("ay", st.binary(max_size=9)) if kind == "y" else (f"a{kind}", st.lists(values, max_size=3))  # fmt: skip

    def structure(fields: list[Typed]) -> Typed:
        return f"({''.join(kind for kind, _ in fields)})", st.tuples(*[v for _, v in fields]).map(list)  # fmt: skip

    def dictionary(entry: tuple[Typed, Typed]) -> Typed:
        (key, keys), (kind, values) = entry
        return f"a{{{key}{kind}}}", st.dictionaries(keys, values, max_size=3)

    def variant(of: Typed) -> Typed:
        kind, values = of
        return "v", values.map(lambda value: Variant(kind, value))

    return st.one_of(
        inner.map(array),
        st.lists(inner, min_size=1, max_size=3).map(structure),
        st.tuples(_basic(), inner).map(dictionary),
        inner.map(variant),
    )


_TYPED = st.recursive(_basic(), _containers, max_leaves=6)
_VALUE = _TYPED.flatmap(lambda typed: st.tuples(st.just(typed[0]), typed[1]))


@given(st.lists(_VALUE, max_size=4))
def test_values_come_back(values: list[tuple[str, Any]]) -> None:
    signature = "".join(kind for kind, _ in values)
    wanted = [value for _, value in values]
    assert wire.unmarshal(signature, wire.marshal(signature, wanted)) == wanted
    assert wire.complete_types(signature) == [kind for kind, _ in values]


@given(_VALUE, st.integers(1, (1 << 32) - 1), _TEXT.filter(bool))
def test_messages_come_back(value: tuple[str, Any], serial: int, name: str) -> None:
    fields = {"path": "/a", "member": name, "signature": value[0], "reply_serial": serial}
    message = wire.Message(wire.RETURN, serial, fields, [value[1]])
    data = message.encode()
    assert wire.length(data[: wire.FIXED]) == len(data)
    found = wire.decode(data)
    assert (found.kind, found.serial, found.fields, found.body) == (wire.RETURN, serial, fields, [value[1]])  # fmt: skip


@given(st.text("ybnqiuxtdsogva(){}", max_size=12), st.binary(max_size=64))
def test_strange_bytes_are_refused_or_read(signature: str, data: bytes) -> None:
    with contextlib.suppress(WireError):
        wire.unmarshal(signature, data)


@given(st.binary(max_size=96))
def test_strange_messages_are_refused_or_read(data: bytes) -> None:
    for start in (b"", b"l\1\0\1"):
        with contextlib.suppress(WireError):
            wire.decode(start + data)
        with contextlib.suppress(WireError):
            wire.length((start + data + bytes(16))[: wire.FIXED])


@pytest.mark.parametrize(
    "signature", ["a", "(", "()", "{sv}", "a{vs}", "a{s}", "a{sss}", "z", "(s", "a" * 99]
)
def test_what_is_no_signature(signature: str) -> None:
    with pytest.raises(WireError):
        wire.complete_types(signature)


@pytest.mark.parametrize(
    ("signature", "value"),
    [("u", -1), ("y", 256), ("s", 5), ("s", "a\0b"), ("as", 7), ("(su)", ["x"]), ("v", "bare"), ("v", Variant("ss", "x"))],
)  # fmt: skip
def test_values_of_another_type(signature: str, value: object) -> None:
    with pytest.raises(WireError):
        wire.marshal(signature, [value])


def test_the_other_byte_order_is_read() -> None:
    body = struct.pack(">I", 3) + b"one\0" + struct.pack(">I", 7)
    assert wire.unmarshal("su", body, ">") == ["one", 7]


def test_a_message_that_claims_to_be_huge_is_not_waited_for() -> None:
    with pytest.raises(WireError, match="too long"):
        wire.length(b"l\1\0\1" + struct.pack("<III", 1 << 30, 1, 0))
