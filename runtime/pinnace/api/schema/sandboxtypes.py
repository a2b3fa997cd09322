"""A sandbox as its services show it."""

from __future__ import annotations

from pinnace.api import codec as pb
from pinnace.api.schema.wellknown import Any, Timestamp

PACKAGE = "containerd.types"


class Sandbox(pb.Message):
    class Runtime(pb.Message):
        name = pb.string(1)
        options = pb.message(2, Any)

    sandbox_id = pb.string(1)
    runtime = pb.message(2, Runtime)
    spec = pb.message(3, Any)
    labels = pb.string_map(4)
    created_at = pb.message(5, Timestamp)
    updated_at = pb.message(6, Timestamp)
    extensions = pb.message_map(7, Any)
    sandboxer = pb.string(10)
