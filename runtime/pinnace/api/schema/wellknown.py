"""The well-known types of Protocol Buffers that containerd's API uses."""

from __future__ import annotations

from typing import TypeVar

from pinnace.api import codec as pb
from pinnace.errors import InvalidArgument

PACKAGE = "google.protobuf"

_SECOND = 1_000_000_000
GO_ZERO_SECONDS = -62135596800
"""Go's zero time, 0001-01-01, which Go clients send and expect for "no time"."""

_M = TypeVar("_M", bound=pb.Message)


class Any(pb.Message):
    """A message of some type, as bytes; containerd also puts JSON documents inside."""

    type_url = pb.string(1)
    value = pb.data(2)

    @classmethod
    def pack(cls, message: pb.Message) -> Any:
        """Wrap a message, with its bare name for type URL as containerd does."""
        return cls(type_url=message.full_name(), value=message.encode())

    def holds(self, kind: type[pb.Message]) -> bool:
        """Whether the value is a ``kind``, whatever the authority before its name."""
        return self.type_url.rpartition("/")[2] == kind.full_name()

    def unpack(self, kind: type[_M]) -> _M:
        """The message inside. Raises ``InvalidArgument`` when it is not a ``kind``."""
        if not self.holds(kind):
            raise InvalidArgument(f"expected {kind.full_name()}, got {self.type_url!r}")
        return kind.decode(self.value)


class Timestamp(pb.Message):
    """A time of day in UTC."""

    seconds = pb.int64(1)
    nanos = pb.int32(2)

    @classmethod
    def of(cls, nanoseconds: int) -> Timestamp:
        """From nanoseconds since the epoch; 0 is "no time", which is Go's zero time."""
        if not nanoseconds:
            return cls(seconds=GO_ZERO_SECONDS)
        seconds, nanos = divmod(nanoseconds, _SECOND)
        return cls(seconds=seconds, nanos=nanos)

    def nanoseconds(self) -> int:
        """Since the epoch; 0 for Go's zero time."""
        if self.seconds == GO_ZERO_SECONDS:
            return 0
        return self.seconds * _SECOND + self.nanos


class Empty(pb.Message):
    """Nothing."""


class FieldMask(pb.Message):
    """Which fields of a message an update touches."""

    paths = pb.strings(1)
