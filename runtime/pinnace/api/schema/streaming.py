"""The Streaming service: byte and message streams beside a Transfer call."""

from __future__ import annotations

from pinnace.api import codec as pb
from pinnace.api.method import Method
from pinnace.api.schema.wellknown import Any

PACKAGE = "containerd.services.streaming.v1"


class StreamInit(pb.Message):
    id = pb.string(1)


_SERVICE = "containerd.services.streaming.v1.Streaming"


class Streaming:
    """The methods of ``containerd.services.streaming.v1.Streaming``."""

    stream = Method(_SERVICE, "Stream", Any, Any, request_stream=True, response_stream=True)
