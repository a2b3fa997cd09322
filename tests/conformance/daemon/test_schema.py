"""Our schema against the descriptors that containerd's own binary carries.

Go programs keep the descriptors of their protobuf files in their data; reading them from Debian's
package compares every field and every method with the real thing, for whatever release that is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError

from pinnace.api.codec import Field, Message
from pinnace.api.method import methods_of
from tests.conformance.daemon.world import peer
from tests.property.test_codec import MESSAGES, RANGES

pytestmark = pytest.mark.peer

Proto = descriptor_pb2.FieldDescriptorProto
Descriptor = descriptor_pb2.DescriptorProto
_TYPES = {
    Proto.TYPE_STRING: "string",
    Proto.TYPE_BYTES: "bytes",
    Proto.TYPE_BOOL: "bool",
    Proto.TYPE_ENUM: "int32",
    Proto.TYPE_MESSAGE: "message",
    **{getattr(Proto, f"TYPE_{name.upper()}"): name for name in RANGES},
}
_FILE = re.compile(rb"\n([\x08-\x7f])((?:github\.com|google|grpc)/[A-Za-z0-9_./-]*\.proto)")
_FIELDS = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}  # of FileDescriptorProto


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position


def _end(data: bytes, start: int) -> int:
    """Where the descriptor that begins at ``start`` ends: ``syntax`` (12) is its last field."""
    position = start
    while True:
        key, inside = _varint(data, position)
        if key >> 3 not in _FIELDS or key & 7 not in (0, 2) or (key >> 3 == 1 and position > start):
            return position
        size, inside = _varint(data, inside)
        position = inside + (size if key & 7 else 0)
        if key >> 3 == 12:
            return position


def _files(data: bytes) -> Iterator[descriptor_pb2.FileDescriptorProto]:
    for match in _FILE.finditer(data):
        if match[1][0] == len(match[2]):
            try:
                yield descriptor_pb2.FileDescriptorProto.FromString(
                    data[match.start() : _end(data, match.start())]
                )
            except DecodeError:
                continue


def _nested(prefix: str, message: Descriptor) -> Iterator[tuple[str, Descriptor]]:
    yield f"{prefix}.{message.name}", message
    for inner in message.nested_type:
        yield from _nested(f"{prefix}.{message.name}", inner)


@cache
def theirs(series: str) -> tuple[dict[str, Descriptor], dict[str, tuple[str, str, bool, bool]]]:
    """Messages by full name, and methods by path."""
    messages: dict[str, Descriptor] = {}
    methods: dict[str, tuple[str, str, bool, bool]] = {}
    for file in _files((peer(series) / "usr/bin/containerd").read_bytes()):
        for message in file.message_type:
            messages.update(_nested(file.package, message))
        for service in file.service:
            for method in service.method:
                methods[f"/{file.package}.{service.name}/{method.name}"] = (
                    method.input_type[1:],
                    method.output_type[1:],
                    method.client_streaming,
                    method.server_streaming,
                )
    return messages, methods


def _kind(message: Descriptor, field: Proto) -> tuple[str, bool, str]:
    """Type, whether it repeats, and the message's name, in our terms."""
    name = field.type_name.rpartition(".")[2]
    repeated = field.label == Proto.LABEL_REPEATED
    for entry in message.nested_type:
        if entry.options.map_entry and entry.name == name:
            value = entry.field[1]
            if value.type == Proto.TYPE_MESSAGE:
                return "message_map", False, value.type_name[1:]
            return "string_map", False, ""
    kind = _TYPES.get(field.type, str(field.type))
    return kind, repeated, field.type_name[1:] if kind == "message" else ""


def _ours(field: Field) -> tuple[str, bool, str]:
    return field.kind, field.repeated, field.message.full_name() if field.message else ""


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.full_name())
def test_messages_are_those_of_containerd(kind: type[Message]) -> None:
    found = theirs("2.1")[0].get(kind.full_name())
    assert found is not None, "containerd knows no such message"
    known = {field.number: field for field in found.field}
    for name, field in kind.fields.items():
        if field.number not in known and name == "sandbox":
            continue  # newer than this containerd
        other = known[field.number]
        assert name.rstrip("_") == re.sub(r"(?<=[a-z])(?=[A-Z])", "_", other.name).lower()
        assert _ours(field) == _kind(found, other), name


def test_methods_are_those_of_containerd() -> None:
    import importlib

    from pinnace.api.services import NAMES

    methods = theirs("2.1")[1]
    for name, module in NAMES.items():
        schema = importlib.import_module(f"pinnace.api.services.{module}").SCHEMA
        declared = methods_of(schema).values()
        assert {m.path for m in declared} == {p for p in methods if p.startswith(f"/{name}/")}
        for method in declared:
            assert methods[method.path] == (
                method.request.full_name(),
                method.response.full_name(),
                method.request_stream,
                method.response_stream,
            )
