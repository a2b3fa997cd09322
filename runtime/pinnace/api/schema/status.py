"""``google.rpc.Status``: a gRPC error as a value."""

from __future__ import annotations

from pinnace.api import codec as pb
from pinnace.api.schema.wellknown import Any

PACKAGE = "google.rpc"


class Status(pb.Message):
    code = pb.int32(1)
    message = pb.string(2)
    details = pb.messages(3, Any)
