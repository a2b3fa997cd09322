"""Types shared by containerd's services."""

from __future__ import annotations

from pinnace.api import codec as pb
from pinnace.api.schema.wellknown import Any, Timestamp

PACKAGE = "containerd.types"


class Descriptor(pb.Message):
    media_type = pb.string(1)
    digest = pb.string(2)
    size = pb.int64(3)
    annotations = pb.string_map(5)


class Mount(pb.Message):
    type = pb.string(1)
    source = pb.string(2)
    target = pb.string(3)
    options = pb.strings(4)


class Platform(pb.Message):
    os = pb.string(1)
    architecture = pb.string(2)
    variant = pb.string(3)
    os_version = pb.string(4)


class Metric(pb.Message):
    timestamp = pb.message(1, Timestamp)
    id = pb.string(2)
    data = pb.message(3, Any)


class Envelope(pb.Message):
    timestamp = pb.message(1, Timestamp)
    namespace = pb.string(2)
    topic = pb.string(3)
    event = pb.message(4, Any)


class RuntimeRequest(pb.Message):
    runtime_path = pb.string(1)
    options = pb.message(2, Any)


class RuntimeVersion(pb.Message):
    version = pb.string(1)
    revision = pb.string(2)


class RuntimeInfo(pb.Message):
    name = pb.string(1)
    version = pb.message(2, RuntimeVersion)
    options = pb.message(3, Any)
    features = pb.message(4, Any)
    annotations = pb.string_map(5)
