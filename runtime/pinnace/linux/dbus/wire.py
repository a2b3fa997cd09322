"""D-Bus values and messages as bytes (D-Bus Specification, "Type System", "Marshaling", "Message Protocol").

Python has: int for all numbers, bool, str, bytes or list for arrays (``ay`` comes back as bytes), list for
structures, dict for ``a{..}``, and :class:`Variant`.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

MAX_MESSAGE = 1 << 24  # bytes; the specification allows 2**27, what we ask about is kilobytes
_MAX_DEPTH = 32

_NUMBERS = {
    "y": "B", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q", "d": "d", "h": "I",
}  # fmt: skip
_ALIGNMENT = {
    "y": 1, "g": 1, "v": 1, "n": 2, "q": 2, "b": 4, "i": 4, "u": 4, "s": 4, "o": 4, "a": 4, "h": 4,
    "x": 8, "t": 8, "d": 8, "(": 8, "{": 8,
}  # fmt: skip
_CLOSING = {"(": ")", "{": "}"}


class WireError(ValueError):
    """Bytes that are no D-Bus message, or a value that does not fit its type."""


class Variant(NamedTuple):
    """A value with its type's signature."""

    signature: str
    value: Any


def complete_types(signature: str) -> list[str]:
    """The single complete types of a signature: ``a{sv}u`` is ``a{sv}`` and ``u``. Raises WireError."""
    found = []
    place = 0
    while place < len(signature):
        end = _end_of_type(signature, place, 0)
        found.append(signature[place:end])
        place = end
    return found


def _end_of_type(signature: str, place: int, depth: int) -> int:
    if place >= len(signature) or depth > _MAX_DEPTH:
        raise WireError(f"signature {signature!r} ends too early or is too deep")
    letter = signature[place]
    if letter == "a":
        is_dict = signature[place + 1 : place + 2] == "{"
        return (_end_of_group if is_dict else _end_of_type)(signature, place + 1, depth + 1)
    if letter == "(":
        return _end_of_group(signature, place, depth)
    if letter not in _ALIGNMENT or letter == "{":
        raise WireError(f"signature {signature!r} has no type {letter!r}")
    return place + 1


def _end_of_group(signature: str, start: int, depth: int) -> int:
    """Behind a structure, or the entry of a dictionary, which is a basic type and any other."""
    place, count = start + 1, 0
    closing = _CLOSING[signature[start]]
    while place < len(signature) and signature[place] != closing:
        place = _end_of_type(signature, place, depth + 1)
        count += 1
    is_entry = closing == "}"
    if place >= len(signature) or not count or (is_entry and count != 2):
        raise WireError(f"signature {signature!r} has a structure that is empty or open")
    if is_entry and signature[start + 1] in "av(":
        raise WireError(f"signature {signature!r} has a dictionary whose key is no basic type")
    return place + 1


class Writer:
    """Collects little-endian bytes."""

    def __init__(self) -> None:
        self.data = bytearray()

    def pad(self, alignment: int) -> None:
        self.data += bytes(-len(self.data) % alignment)

    def write(self, signature: str, value: Any) -> None:
        """Add a value of one complete type. Raises WireError when it is not of that type."""
        letter = signature[0]
        self.pad(_ALIGNMENT[letter])
        try:
            self._write(letter, signature, value)
        except (struct.error, TypeError, AttributeError) as problem:
            raise WireError(f"{value!r} is not of type {signature}: {problem}") from None

    def _write(self, letter: str, signature: str, value: Any) -> None:
        if letter in _NUMBERS:
            self.data += struct.pack("<" + _NUMBERS[letter], value)
        elif letter == "b":
            self.data += struct.pack("<I", bool(value))
        elif letter in "so":
            text = _text(value)
            self.data += struct.pack("<I", len(text)) + text + b"\0"
        elif letter == "g":
            text = _text(value)
            self.data += struct.pack("<B", len(text)) + text + b"\0"
        elif letter == "v":
            self.write("g", value.signature)
            self.write(_only_type(value.signature), value.value)
        elif letter == "a":
            self._write_array(signature[1:], value)
        else:
            self._write_fields(complete_types(signature[1:-1]), value)

    def _write_fields(self, types: list[str], values: Any) -> None:
        fields = list(values)
        if len(fields) != len(types):
            raise WireError(f"{len(fields)} values for {len(types)} types")
        for kind, field in zip(types, fields, strict=True):
            self.write(kind, field)

    def _write_array(self, kind: str, values: Any) -> None:
        place = len(self.data)
        self.data += bytes(4)
        self.pad(_ALIGNMENT[kind[0]])
        start = len(self.data)
        for item in values.items() if isinstance(values, dict) else values:
            self.write(kind, item)
        struct.pack_into("<I", self.data, place, len(self.data) - start)


def _text(value: Any) -> bytes:
    encoded: bytes = value.encode()
    if b"\0" in encoded:
        raise WireError("text has a NUL")
    return encoded


def _only_type(signature: str) -> str:
    types = complete_types(signature)
    if len(types) != 1:
        raise WireError(f"a variant holds one value, not {signature!r}")
    return types[0]


def marshal(signature: str, values: Any) -> bytes:
    """Values as a message's body. Raises WireError."""
    writer = Writer()
    writer._write_fields(complete_types(signature), values)
    return bytes(writer.data)


class Reader:
    """Reads values from bytes of either byte order. Raises WireError for whatever is wrong with them."""

    def __init__(self, data: bytes, order: str = "<") -> None:
        self.data = data
        self.order = order
        self.place = 0

    def take(self, size: int) -> bytes:
        found = self.data[self.place : self.place + size]
        if len(found) < size:
            raise WireError("the message ends too early")
        self.place += size
        return found

    def pad(self, alignment: int) -> None:
        self.take(-self.place % alignment)

    def number(self, code: str) -> Any:
        form = self.order + code
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def read(self, signature: str, depth: int = 0) -> Any:
        """A value of one complete type."""
        if depth > 2 * _MAX_DEPTH:
            raise WireError("values are nested too deep")
        letter = signature[0]
        self.pad(_ALIGNMENT[letter])
        if letter in _NUMBERS:
            return self.number(_NUMBERS[letter])
        if letter == "b":
            return bool(self.number("I"))
        if letter in "sog":
            text = self.take(self.number("B" if letter == "g" else "I"))
            self.take(1)
            return text.decode(errors="replace")
        if letter == "v":
            kind = _only_type(self.read("g"))
            return Variant(kind, self.read(kind, depth + 1))
        if letter == "a":
            return self._array(signature[1:], depth)
        return [self.read(kind, depth + 1) for kind in complete_types(signature[1:-1])]

    def _array(self, kind: str, depth: int) -> Any:
        size = self.number("I")
        self.pad(_ALIGNMENT[kind[0]])
        if kind == "y":
            return self.take(size)
        end = self.place + size
        if end > len(self.data):
            raise WireError("an array is longer than its message")
        items = []
        while self.place < end:
            items.append(self.read(kind, depth + 1))
        if self.place != end:
            raise WireError("an array's last value is longer than the array")
        return dict(items) if kind[0] == "{" else items


def unmarshal(signature: str, data: bytes, order: str = "<") -> list[Any]:
    """A message's body as values. Raises WireError."""
    reader = Reader(data, order)
    found = [reader.read(kind) for kind in complete_types(signature)]
    if reader.place != len(data):
        raise WireError("the message has more than its signature says")
    return found


CALL, RETURN, ERROR, SIGNAL = 1, 2, 3, 4
_FIELDS = {
    "path": (1, "o"), "interface": (2, "s"), "member": (3, "s"), "error_name": (4, "s"),
    "reply_serial": (5, "u"), "destination": (6, "s"), "sender": (7, "s"), "signature": (8, "g"),
}  # fmt: skip
_NAMES = {code: name for name, (code, _) in _FIELDS.items()}
FIXED = 16
"""Bytes of a message's beginning that tell how long it is."""


class Message:
    """One message: its kind, its header fields by name, and its values."""

    __slots__ = ("body", "fields", "kind", "serial")

    def __init__(self, kind: int, serial: int, fields: dict[str, Any], body: list[Any]) -> None:
        self.kind = kind
        self.serial = serial
        self.fields = fields
        self.body = body

    def encode(self) -> bytes:
        """The message as it is sent. Raises WireError."""
        body = marshal(self.fields.get("signature", ""), self.body)
        writer = Writer()
        writer.data += struct.pack("<cBBBII", b"l", self.kind, 0, 1, len(body), self.serial)
        fields = [
            [code, Variant(kind, self.fields[name])]
            for name, (code, kind) in _FIELDS.items()
            if self.fields.get(name) not in (None, "")
        ]
        writer.write("a(yv)", fields)
        writer.pad(8)
        return bytes(writer.data) + body


def length(start: bytes) -> int:
    """How long the message is whose first ``FIXED`` bytes these are. Raises WireError."""
    order = _order(start)
    body, fields = struct.unpack(order + "4xI4xI", start)
    size: int = FIXED + fields + (-fields % 8) + body
    if size > MAX_MESSAGE:
        raise WireError(f"a message of {size} bytes is too long")
    return size


def decode(data: bytes) -> Message:
    """A whole message. Raises WireError."""
    order = _order(data)
    reader = Reader(data, order)
    reader.take(1)
    kind, _flags, version = reader.number("B"), reader.number("B"), reader.number("B")
    if version != 1:
        raise WireError(f"version {version} of the protocol is not known")
    size, serial = reader.number("I"), reader.number("I")
    fields = {
        _NAMES[code]: variant.value for code, variant in reader.read("a(yv)") if code in _NAMES
    }
    reader.pad(8)
    body = reader.take(size)
    return Message(kind, serial, fields, unmarshal(str(fields.get("signature", "")), body, order))


def _order(data: bytes) -> str:
    if data[:1] not in (b"l", b"B"):
        raise WireError("not a D-Bus message")
    return "<" if data[:1] == b"l" else ">"
