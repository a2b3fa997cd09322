"""Between the wire's messages and the daemon's records."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pinnace.api.schema.types import Descriptor, Mount
from pinnace.api.schema.wellknown import Any, FieldMask, Timestamp
from pinnace.errors import InvalidArgument
from pinnace.linux.mount import Mount as MountRecord
from pinnace.spec.digest import Digest
from pinnace.spec.image import Descriptor as DescriptorRecord
from pinnace.store.records import TypedValue

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

timestamp = Timestamp.of
now = time.time_ns


def descriptor(record: DescriptorRecord) -> Descriptor:
    return Descriptor(
        media_type=record.media_type,
        digest=str(record.digest),
        size=record.size,
        annotations=dict(record.annotations),
    )


def descriptor_record(message: Descriptor | None, what: str) -> DescriptorRecord:
    """Raises InvalidArgument without a descriptor or with a malformed digest."""
    if message is None:
        raise InvalidArgument(f"{what} must be set")
    return DescriptorRecord(
        message.media_type, Digest.parse(message.digest), message.size, message.annotations
    )


def mounts(records: Iterable[MountRecord]) -> list[Mount]:
    return [
        Mount(type=m.type, source=m.source, target=m.target, options=list(m.options))
        for m in records
    ]


def mount_records(messages: Iterable[Mount]) -> list[MountRecord]:
    return [MountRecord(m.type, m.source, m.target, tuple(m.options)) for m in messages]


def typed_value(message: Any | None) -> TypedValue | None:
    return None if message is None else TypedValue(message.type_url, message.value)


def any_message(record: TypedValue | None) -> Any | None:
    return None if record is None else Any(type_url=record.type_url, value=record.value)


def paths(mask: FieldMask | None) -> Sequence[str]:
    return () if mask is None else mask.paths
