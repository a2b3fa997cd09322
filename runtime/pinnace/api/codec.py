"""Protocol Buffers (proto3) messages without a code generator or a compiled library.

A message is a class whose attributes are declared with the functions below::

    class Image(Message):
        name = string(1)
        labels = string_map(2)
        target = message(3, Descriptor)

Nothing is compiled until a message is encoded or decoded for the first time, so that importing a
schema costs little. Values are plain: ``str``, ``bytes``, ``int``, ``bool``, lists, dicts, other
messages, and ``None`` for a message field that is not set.

Decoding takes input from anyone who may connect, so it is bounded: nesting depth, the number of
elements (each costs memory whatever its size on the wire), lengths within the enclosing message,
UTF-8 in strings. Unknown fields are skipped. Malformed input raises ``InvalidArgument``.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from pinnace.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    Writer = Callable[[Any, bytearray], None]
    FieldReader = Callable[["Message", "_Input", int, int], int]

MAX_DEPTH = 64
"""Nesting of messages; google-protobuf allows 100, the schemas here need 6."""
MAX_ELEMENTS = 250_000
"""Fields in one decoded message, counted through all its parts."""

_VARINT, _FIXED64, _BYTES, _GROUP, _GROUP_END, _FIXED32 = range(6)
_MASK64 = (1 << 64) - 1


class Field:
    """One declared field: ``kind`` is a scalar's name, "message" or "map"."""

    __slots__ = ("default", "kind", "message", "number", "repeated")

    def __init__(
        self,
        number: int,
        kind: str,
        default: object,
        message: type[Message] | None = None,
        repeated: bool = False,
    ) -> None:
        self.number = number
        self.kind = kind
        self.default = default
        self.message = message
        self.repeated = repeated

    def fresh(self) -> object:
        """A new container for a repeated or map field; ``None`` for the others."""
        if self.kind in _MAPS:
            return {}
        return [] if self.repeated else None


_MAPS = ("string_map", "message_map")


class Message:
    """The base of every message; keyword arguments set fields, the others keep their defaults."""

    fields: ClassVar[dict[str, Field]] = {}
    _containers: ClassVar[tuple[tuple[str, Field], ...]] = ()
    _writers: ClassVar[list[tuple[str, Writer]] | None] = None
    _readers: ClassVar[dict[int, FieldReader] | None] = None

    def __init_subclass__(cls) -> None:
        cls.fields = {n: value for n, value in vars(cls).items() if isinstance(value, Field)}
        cls._containers = tuple((n, f) for n, f in cls.fields.items() if f.fresh() is not None)
        cls._writers = cls._readers = None
        for name, field in cls.fields.items():
            setattr(cls, name, field.default)

    def __init__(self, **values: Any) -> None:
        state = self.__dict__
        for name, field in self._containers:
            state[name] = field.fresh()
        if not values.keys() <= self.fields.keys():
            unknown = sorted(values.keys() - self.fields.keys())
            raise TypeError(f"{type(self).__name__} has no field {', '.join(unknown)}")
        state.update(values)

    @classmethod
    def full_name(cls) -> str:
        """The name on the wire: the schema module's ``PACKAGE`` and the class."""
        from sys import modules

        return f"{modules[cls.__module__].PACKAGE}.{cls.__qualname__}"

    def encode(self) -> bytes:
        """The wire form; fields in the order of their declaration, defaults left out."""
        out = bytearray()
        _write(self, out)
        return bytes(out)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read the wire form. Raises ``InvalidArgument`` for anything malformed or unbounded."""
        message = cls()
        try:
            _Input(data).read(message, 0, len(data))
        except (IndexError, UnicodeDecodeError) as problem:
            raise InvalidArgument(f"malformed {cls.__qualname__}: {problem}") from None
        return message

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.fields)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name in self.fields if (value := getattr(self, name)))
        return f"{type(self).__qualname__}({', '.join(shown)})"


_M = TypeVar("_M", bound=Message)


def string(number: int) -> str:
    """Declare a ``string`` field."""
    return cast("str", Field(number, "string", ""))


def data(number: int) -> bytes:
    """Declare a ``bytes`` field."""
    return cast("bytes", Field(number, "bytes", b""))


def boolean(number: int) -> bool:
    """Declare a ``bool`` field."""
    return cast("bool", Field(number, "bool", False))


def int32(number: int) -> int:
    """Declare an ``int32`` field."""
    return cast("int", Field(number, "int32", 0))


def int64(number: int) -> int:
    """Declare an ``int64`` field."""
    return cast("int", Field(number, "int64", 0))


def uint32(number: int) -> int:
    """Declare a ``uint32`` field."""
    return cast("int", Field(number, "uint32", 0))


def uint64(number: int) -> int:
    """Declare a ``uint64`` field."""
    return cast("int", Field(number, "uint64", 0))


def enum(number: int) -> int:
    """Declare an enum field; its values are module constants, unknown ones are kept."""
    return cast("int", Field(number, "int32", 0))


def message(number: int, kind: type[_M]) -> _M | None:
    """Declare a field that holds another message, ``None`` when not set."""
    return cast("_M | None", Field(number, "message", None, kind))


def strings(number: int) -> list[str]:
    """Declare a ``repeated string`` field."""
    return cast("list[str]", Field(number, "string", (), repeated=True))


def uint64s(number: int) -> list[int]:
    """Declare a ``repeated uint64`` field, written packed and read in both forms."""
    return cast("list[int]", Field(number, "uint64", (), repeated=True))


def messages(number: int, kind: type[_M]) -> list[_M]:
    """Declare a ``repeated`` field of messages."""
    return cast("list[_M]", Field(number, "message", (), kind, repeated=True))


def string_map(number: int) -> dict[str, str]:
    """Declare a ``map<string, string>`` field."""
    return cast("dict[str, str]", Field(number, "string_map", {}))


def message_map(number: int, kind: type[_M]) -> dict[str, _M]:
    """Declare a ``map<string, Message>`` field."""
    return cast("dict[str, _M]", Field(number, "message_map", {}, kind))


# --- writing ---------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    """The base-128 form of a number from 0 to 2**64-1."""
    if value < 0x80:
        return _SMALL[value]
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_SMALL = tuple(bytes((value,)) for value in range(0x80))


def _write(item: Message, out: bytearray) -> None:
    kind = type(item)
    writers = kind._writers
    if writers is None:
        writers = kind._writers = [(n, _writer(n, f)) for n, f in kind.fields.items()]
    state = item.__dict__
    for name, write in writers:
        value = state.get(name)
        # A message that is set but empty is still written: it is true, presence is its value.
        if value:
            write(value, out)


def _writer(name: str, field: Field) -> Writer:
    if field.kind in _MAPS:
        return _map_writer(name, field)
    key = varint(field.number << 3 | (_BYTES if _is_delimited(field) else _VARINT))
    to_bytes = _serializer(name, field)
    if field.repeated and not _is_delimited(field):
        return _packed_writer(varint(field.number << 3 | _BYTES), to_bytes)
    if not _is_delimited(field):

        def write_scalar(value: Any, out: bytearray) -> None:
            out += key
            out += to_bytes(value)

        return write_scalar

    def write(value: Any, out: bytearray) -> None:
        body = to_bytes(value)
        out += key
        out += varint(len(body))
        out += body

    if not field.repeated:
        return write

    def write_all(values: Any, out: bytearray) -> None:
        for value in values:
            write(value, out)

    return write_all


def _is_delimited(field: Field) -> bool:
    return field.kind in ("string", "bytes", "message")


def _packed_writer(key: bytes, to_bytes: Callable[[Any], bytes]) -> Writer:
    def write(values: Any, out: bytearray) -> None:
        body = b"".join(map(to_bytes, values))
        out += key
        out += varint(len(body))
        out += body

    return write


def _map_writer(name: str, field: Field) -> Writer:
    """A map is a repeated message of a key (1) and a value (2)."""
    key = varint(field.number << 3 | _BYTES)
    to_key = _serializer(name, Field(1, "string", ""))
    to_value = _serializer(name, Field(2, "message" if field.message else "string", None))

    def write(values: Any, out: bytearray) -> None:
        for label, value in values.items():
            first, second = to_key(label), to_value(value)
            body = b"\x0a" + varint(len(first)) + first + b"\x12" + varint(len(second)) + second
            out += key
            out += varint(len(body))
            out += body

    return write


def _serializer(name: str, field: Field) -> Callable[[Any], bytes]:
    kind = field.kind
    if kind == "message":
        return Message.encode
    if kind == "bytes":
        return bytes
    if kind == "string":

        def string_bytes(value: str) -> bytes:
            try:
                return value.encode()
            except UnicodeEncodeError:
                raise InvalidArgument(f"{name} is not valid Unicode: {value!r}") from None

        return string_bytes
    low, high = _RANGES[kind]

    def number_bytes(value: int) -> bytes:
        number = int(value)
        if not low <= number <= high:
            raise InvalidArgument(f"{name}: {number} does not fit into {kind}")
        return varint(number & _MASK64)

    return number_bytes


_RANGES = {
    "bool": (0, 1),
    "int32": (-(1 << 31), (1 << 31) - 1),
    "int64": (-(1 << 63), (1 << 63) - 1),
    "uint32": (0, (1 << 32) - 1),
    "uint64": (0, _MASK64),
}


# --- reading ---------------------------------------------------------------------------------


class _Input:
    """The bytes being decoded and what is left of the bounds."""

    __slots__ = ("data", "depth", "elements")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.depth = MAX_DEPTH
        self.elements = MAX_ELEMENTS

    def read(self, item: Message, position: int, end: int) -> None:
        """Decode the fields between ``position`` and ``end`` into ``item``."""
        kind = type(item)
        readers = kind._readers
        if readers is None:
            readers = kind._readers = _compile_readers(kind)
        self._enter()
        while position < end:
            key, position = self.varint(position)
            self._count()
            reader = readers.get(key)
            if reader is None:
                position = self._skip(key, position, end)
            else:
                position = reader(item, self, position, end)
        self.depth += 1
        if position != end:
            raise InvalidArgument(f"malformed {kind.__qualname__}: a field ends outside of it")

    def _count(self) -> None:
        self.elements -= 1
        if self.elements < 0:
            raise InvalidArgument(f"message has more than {MAX_ELEMENTS} elements")

    def _enter(self) -> None:
        self.depth -= 1
        if self.depth < 0:
            raise InvalidArgument(f"message is nested deeper than {MAX_DEPTH}")

    def varint(self, position: int) -> tuple[int, int]:
        """The number at ``position`` (64 bits) and the position behind it."""
        data = self.data
        byte = data[position]
        if byte < 0x80:
            return byte, position + 1
        value, shift = byte & 0x7F, 7
        for index in range(position + 1, position + 10):
            byte = data[index]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & _MASK64, index + 1
            shift += 7
        raise InvalidArgument("malformed message: a number is longer than 10 bytes")

    def span(self, position: int, end: int) -> tuple[int, int]:
        """Start and end of the length-delimited value at ``position``."""
        length, start = self.varint(position)
        stop = start + length
        if stop > end:
            raise InvalidArgument("malformed message: a length points behind its end")
        return start, stop

    def _skip(self, key: int, position: int, end: int) -> int:
        wire = key & 7
        if not 0 < key >> 3 < 1 << 29:
            raise InvalidArgument(f"malformed message: field number {key >> 3}")
        if wire == _VARINT:
            return self.varint(position)[1]
        if wire == _BYTES:
            return self.span(position, end)[1]
        if wire in (_FIXED64, _FIXED32):
            return position + (8 if wire == _FIXED64 else 4)
        if wire == _GROUP:
            return self._skip_group(key >> 3, position, end)
        raise InvalidArgument(f"malformed message: wire type {wire}")

    def _skip_group(self, number: int, position: int, end: int) -> int:
        self._enter()
        while position < end:
            key, position = self.varint(position)
            self._count()
            if key & 7 == _GROUP_END:
                if key >> 3 != number:
                    break
                self.depth += 1
                return position
            position = self._skip(key, position, end)
        raise InvalidArgument("malformed message: a group does not end")


def _compile_readers(kind: type[Message]) -> dict[int, FieldReader]:
    readers: dict[int, FieldReader] = {}
    for name, field in kind.fields.items():
        delimited = field.number << 3 | _BYTES
        if field.kind in _MAPS:
            readers[delimited] = _map_reader(name, field)
        elif field.kind == "message":
            readers[delimited] = _message_reader(name, field)
        elif _is_delimited(field):
            readers[delimited] = _bytes_reader(name, field)
        else:
            readers[field.number << 3 | _VARINT] = _number_reader(name, field)
            if field.repeated:
                readers[delimited] = _packed_reader(name, field)
    return readers


def _store(item: Message, name: str, field: Field, value: object) -> None:
    if field.repeated:
        item.__dict__[name].append(value)
    else:
        item.__dict__[name] = value


def _message_reader(name: str, field: Field) -> FieldReader:
    kind = cast("type[Message]", field.message)

    def read(item: Message, source: _Input, position: int, end: int) -> int:
        start, stop = source.span(position, end)
        # The parts of a message field that occurs twice are merged (proto3: last one wins inside).
        part = None if field.repeated else item.__dict__.get(name)
        if part is None:
            part = kind()
            _store(item, name, field, part)
        source.read(part, start, stop)
        return stop

    return read


def _bytes_reader(name: str, field: Field) -> FieldReader:
    text = field.kind == "string"

    def read(item: Message, source: _Input, position: int, end: int) -> int:
        start, stop = source.span(position, end)
        value = source.data[start:stop]
        _store(item, name, field, str(value, "utf-8") if text else value)
        return stop

    return read


def _number_reader(name: str, field: Field) -> FieldReader:
    convert = _CONVERT[field.kind]

    def read(item: Message, source: _Input, position: int, end: int) -> int:
        value, position = source.varint(position)
        _store(item, name, field, convert(value))
        return position

    return read


def _packed_reader(name: str, field: Field) -> FieldReader:
    convert = _CONVERT[field.kind]

    def read(item: Message, source: _Input, position: int, end: int) -> int:
        position, stop = source.span(position, end)
        values = item.__dict__[name]
        while position < stop:
            value, position = source.varint(position)
            source._count()
            values.append(convert(value))
        if position != stop:
            raise InvalidArgument(f"malformed message: {name} ends inside a number")
        return stop

    return read


def _map_reader(name: str, field: Field) -> FieldReader:
    kind = field.message

    def read(item: Message, source: _Input, position: int, end: int) -> int:
        start, stop = source.span(position, end)
        entry: _TextEntry | _DataEntry = _DataEntry() if kind else _TextEntry()
        source.read(entry, start, stop)
        if kind is None:
            item.__dict__[name][entry.key] = entry.value
            return stop
        value = kind()
        inner = _Input(cast("bytes", entry.value))
        inner.depth, inner.elements = source.depth - 1, source.elements
        inner.read(value, 0, len(inner.data))
        source.elements = inner.elements
        item.__dict__[name][entry.key] = value
        return stop

    return read


class _TextEntry(Message):
    key = string(1)
    value = string(2)


class _DataEntry(Message):
    key = string(1)
    value = data(2)


def _signed(bits: int) -> Callable[[int], int]:
    mask, top = (1 << bits) - 1, 1 << (bits - 1)
    return lambda value: ((value & mask) ^ top) - top


_CONVERT: dict[str, Callable[[int], Any]] = {
    "bool": bool,
    "int32": _signed(32),
    "int64": _signed(64),
    "uint32": lambda value: value & 0xFFFFFFFF,
    "uint64": int,
}
