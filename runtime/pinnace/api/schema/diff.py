"""The Diff service: layers onto mounts, and mounts into layers."""

from __future__ import annotations

from pinnace.api import codec as pb
from pinnace.api.method import Method
from pinnace.api.schema.types import Descriptor, Mount
from pinnace.api.schema.wellknown import Any, Timestamp

PACKAGE = "containerd.services.diff.v1"


class ApplyRequest(pb.Message):
    diff = pb.message(1, Descriptor)
    mounts = pb.messages(2, Mount)
    payloads = pb.message_map(3, Any)
    sync_fs = pb.boolean(4)


class ApplyResponse(pb.Message):
    applied = pb.message(1, Descriptor)


class DiffRequest(pb.Message):
    left = pb.messages(1, Mount)
    right = pb.messages(2, Mount)
    media_type = pb.string(3)
    ref = pb.string(4)
    labels = pb.string_map(5)
    source_date_epoch = pb.message(6, Timestamp)


class DiffResponse(pb.Message):
    diff = pb.message(3, Descriptor)


_SERVICE = "containerd.services.diff.v1.Diff"


class Diff:
    """The methods of ``containerd.services.diff.v1.Diff``."""

    apply = Method(_SERVICE, "Apply", ApplyRequest, ApplyResponse)
    diff = Method(_SERVICE, "Diff", DiffRequest, DiffResponse)
