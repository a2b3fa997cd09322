"""The codec against google-protobuf, for every message of every schema.

The oracle's descriptors are built from our declarations, so what is compared is the encoding; that
the declarations are containerd's is checked by tests/conformance/daemon/test_schema.py.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any as Anything

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st

from pinnace.api import codec, schema
from pinnace.api.schema import events, images, tasktypes, types
from pinnace.api.schema.wellknown import Any, Timestamp
from pinnace.errors import InvalidArgument

Proto = descriptor_pb2.FieldDescriptorProto
SCALARS = {
    "string": Proto.TYPE_STRING,
    "bytes": Proto.TYPE_BYTES,
    "bool": Proto.TYPE_BOOL,
    "int32": Proto.TYPE_INT32,
    "int64": Proto.TYPE_INT64,
    "uint32": Proto.TYPE_UINT32,
    "uint64": Proto.TYPE_UINT64,
}
RANGES = {
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}


def _nested(kind: type[codec.Message]) -> list[type[codec.Message]]:
    inner = [v for v in vars(kind).values() if isinstance(v, type)]
    return [kind, *(found for item in inner for found in _nested(item))]


def _schemas() -> dict[str, list[type[codec.Message]]]:
    found = {}
    for info in pkgutil.iter_modules(schema.__path__):
        module = importlib.import_module(f"{schema.__name__}.{info.name}")
        found[module.__name__] = [
            kind
            for value in vars(module).values()
            if isinstance(value, type)
            and issubclass(value, codec.Message)
            and value.__module__ == module.__name__
            for kind in _nested(value)
        ]
    return found


SCHEMAS = _schemas()
MESSAGES = [kind for kinds in SCHEMAS.values() for kind in kinds]


def _describe(kind: type[codec.Message], target: descriptor_pb2.DescriptorProto) -> None:
    """Fill one flat message descriptor; maps become their entry messages."""
    for name, field in kind.fields.items():
        proto = target.field.add(name=name, number=field.number, label=Proto.LABEL_OPTIONAL)
        if field.kind in ("string_map", "message_map"):
            entry = target.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
            entry.options.map_entry = True
            entry.field.add(name="key", number=1, type=Proto.TYPE_STRING, label=1)
            value = entry.field.add(name="value", number=2, type=Proto.TYPE_STRING, label=1)
            if field.message:
                value.type, value.type_name = Proto.TYPE_MESSAGE, _oracle_name(field.message)
            proto.type, proto.label = Proto.TYPE_MESSAGE, Proto.LABEL_REPEATED
            proto.type_name = f"{_oracle_name(kind)}.{entry.name}"
            continue
        if field.message:
            proto.type, proto.type_name = Proto.TYPE_MESSAGE, _oracle_name(field.message)
        else:
            proto.type = SCALARS[field.kind]
        if field.repeated:
            proto.label = Proto.LABEL_REPEATED


def _oracle_name(kind: type[codec.Message]) -> str:
    return f".oracle.{kind.full_name().replace('.', '_')}"


def _oracles() -> dict[type[codec.Message], Anything]:
    file = descriptor_pb2.FileDescriptorProto(name="o.proto", package="oracle", syntax="proto3")
    for kind in MESSAGES:
        _describe(kind, file.message_type.add(name=_oracle_name(kind).rpartition(".")[2]))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    find = pool.FindMessageTypeByName
    return {k: message_factory.GetMessageClass(find(_oracle_name(k)[1:])) for k in MESSAGES}


ORACLES = _oracles()
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def _values(kind: type[codec.Message], depth: int = 3) -> st.SearchStrategy[codec.Message]:
    fields = {}
    for name, field in kind.fields.items():
        if field.message and depth == 0:
            continue
        fields[name] = _field_values(field, depth)
    return st.fixed_dictionaries({}, optional=fields).map(lambda values: kind(**values))


def _field_values(field: codec.Field, depth: int) -> st.SearchStrategy[Anything]:
    one: st.SearchStrategy[Anything]
    if field.message:
        one = _values(field.message, depth - 1)
    elif field.kind in RANGES:
        one = st.integers(*RANGES[field.kind])
    else:
        one = {"bool": st.booleans(), "bytes": st.binary(max_size=12)}.get(field.kind, TEXT)
    if field.kind in ("string_map", "message_map"):
        return st.dictionaries(TEXT, one, max_size=3)
    return st.lists(one, max_size=3) if field.repeated else one


def _to_oracle(message: codec.Message) -> Anything:
    target = ORACLES[type(message)]()
    for name, field in message.fields.items():
        value = getattr(message, name)
        if value is None or (not field.message and not value):
            continue
        if field.kind == "string_map":
            getattr(target, name).update(value)
        elif field.kind == "message_map":
            for key, item in value.items():
                getattr(target, name)[key].CopyFrom(_to_oracle(item))
        elif field.message and field.repeated:
            getattr(target, name).extend(map(_to_oracle, value))
        elif field.message:
            getattr(target, name).CopyFrom(_to_oracle(value))
        elif field.repeated:
            getattr(target, name).extend(value)
        else:
            setattr(target, name, value)
    return target


@pytest.mark.parametrize("module", SCHEMAS)
def test_every_message_means_the_same_to_the_oracle(module: str) -> None:
    @settings(max_examples=25, deadline=None)
    @given(st.one_of([_values(kind) for kind in SCHEMAS[module]]))
    def check(message: codec.Message) -> None:
        oracle = _to_oracle(message)
        wire = message.encode()
        assert type(oracle).FromString(wire) == oracle
        assert type(message).decode(oracle.SerializeToString()) == message
        assert type(message).decode(wire) == message

    check()


# Without maps: the oracle drops a map entry that has an unknown field, Go and we keep it.
KINDS = [tasktypes.Process, events.TaskCreate, types.Envelope, types.Metric, Timestamp]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(KINDS), st.binary(max_size=40))
def test_hostile_bytes_are_refused_or_mean_what_the_oracle_says(
    kind: type[codec.Message], data: bytes
) -> None:
    try:
        found = kind.decode(data)
    except InvalidArgument:
        return
    # We may be laxer than the oracle about overlong tags only; what we accept must agree.
    try:
        oracle = ORACLES[kind].FromString(data)
    except Exception:
        return
    assert _to_oracle(found) == ORACLES[kind].FromString(_known(oracle))


def _known(oracle: Anything) -> bytes:
    oracle.DiscardUnknownFields()
    return bytes(oracle.SerializeToString())


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_messages_are_refused_or_mean_what_the_oracle_says(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    wire = bytearray(data.draw(_values(kind)).encode() or b"\0")
    position = data.draw(st.integers(0, len(wire) - 1))
    wire[position] ^= data.draw(st.integers(1, 255))
    try:
        oracle = ORACLES[kind].FromString(bytes(wire))
    except Exception:
        oracle = None
    try:
        found = kind.decode(bytes(wire))
    except InvalidArgument as problem:
        # The oracle skips fields with number 0 inside unknown groups; the format forbids them.
        refused = str(problem)
    else:
        refused = ""
    if refused:
        assert oracle is None or "field number 0" in refused
        return
    if oracle is not None:
        assert _to_oracle(found) == ORACLES[kind].FromString(_known(oracle))


def test_parts_of_a_message_are_merged() -> None:
    first = images.Image(target=types.Descriptor(digest="d", annotations={"a": "1"})).encode()
    second = images.Image(target=types.Descriptor(size=3, annotations={"b": "2"})).encode()
    merged = images.Image.decode(first + second).target
    assert merged == types.Descriptor(digest="d", size=3, annotations={"a": "1", "b": "2"})


def test_unknown_fields_and_groups_are_skipped() -> None:
    extra = b"\xfa\x01\x03abc" + b"\xf8\x01\x05" + b"\xf9\x01" + bytes(8) + b"\xfd\x01" + bytes(4)
    group = b"\xfb\x01\x08\x01\xfc\x01"
    wire = images.GetImageRequest(name="n").encode()
    assert images.GetImageRequest.decode(extra + wire + group).name == "n"


def test_bounds_hold() -> None:
    with pytest.raises(InvalidArgument, match="nested deeper"):
        Any.decode(b"\x1b" * 500)
    with pytest.raises(InvalidArgument, match="elements"):
        types.Mount.decode(b"\x22\x00" * (codec.MAX_ELEMENTS + 1))
    with pytest.raises(InvalidArgument, match="behind its end"):
        Any.decode(b"\x0a\x7f")
    with pytest.raises(InvalidArgument, match="longer than 10"):
        Timestamp.decode(b"\x08" + b"\xff" * 10 + b"\x01")
    with pytest.raises(InvalidArgument, match="malformed Any"):
        Any.decode(b"\x0a\x01\xff")


def test_values_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="seconds: 9223372036854775808"):
        Timestamp(seconds=2**63).encode()
    with pytest.raises(InvalidArgument, match="not valid Unicode"):
        Any(type_url="\udcff").encode()
    with pytest.raises(TypeError, match="has no field nam"):
        images.Image(nam="x")


def test_times_and_any() -> None:
    assert Timestamp.of(1_500_000_000_000_000_001).nanoseconds() == 1_500_000_000_000_000_001
    assert Timestamp.of(0).seconds == -62135596800
    assert Timestamp.of(0).nanoseconds() == 0
    packed = Any.pack(types.Mount(type="bind"))
    assert packed.type_url == "containerd.types.Mount"
    assert packed.unpack(types.Mount).type == "bind"
    assert Any(type_url="type.googleapis.com/containerd.types.Mount").holds(types.Mount)
    with pytest.raises(InvalidArgument, match=r"expected containerd.types.Platform"):
        packed.unpack(types.Platform)
