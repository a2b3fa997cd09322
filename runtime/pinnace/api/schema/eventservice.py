"""The Events service."""

from __future__ import annotations

from pinnace.api import codec as pb
from pinnace.api.method import Method
from pinnace.api.schema.types import Envelope
from pinnace.api.schema.wellknown import Any, Empty

PACKAGE = "containerd.services.events.v1"


class PublishRequest(pb.Message):
    topic = pb.string(1)
    event = pb.message(2, Any)


class ForwardRequest(pb.Message):
    envelope = pb.message(1, Envelope)


class SubscribeRequest(pb.Message):
    filters = pb.strings(1)


_SERVICE = "containerd.services.events.v1.Events"


class Events:
    """The methods of ``containerd.services.events.v1.Events``."""

    publish = Method(_SERVICE, "Publish", PublishRequest, Empty)
    forward = Method(_SERVICE, "Forward", ForwardRequest, Empty)
    subscribe = Method(_SERVICE, "Subscribe", SubscribeRequest, Envelope, response_stream=True)


class ShimEvents:
    """The same for shims, over ttrpc: ``containerd.services.events.ttrpc.v1.Events``."""

    forward = Method("containerd.services.events.ttrpc.v1.Events", "Forward", ForwardRequest, Empty)
