"""The Events service, and how the daemon's events look on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema import events as kinds
from pinnace.api.schema import eventservice as wire
from pinnace.api.schema import images
from pinnace.api.schema.types import Envelope
from pinnace.api.schema.wellknown import Any, Empty, Timestamp
from pinnace.api.services import convert
from pinnace.daemon.events import Event
from pinnace.errors import InvalidArgument
from pinnace.linux.mount import Mount
from pinnace.store.records import TypedValue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pinnace.api.codec import Message
    from pinnace.api.server import Context
    from pinnace.daemon.daemon import Daemon

SCHEMA = wire.Events

TOPICS: dict[str, type[Message]] = {
    "/containers/create": kinds.ContainerCreate,
    "/containers/update": kinds.ContainerUpdate,
    "/containers/delete": kinds.ContainerDelete,
    "/content/create": kinds.ContentCreate,
    "/content/delete": kinds.ContentDelete,
    "/images/create": images.ImageCreate,
    "/images/update": images.ImageUpdate,
    "/images/delete": images.ImageDelete,
    "/namespaces/create": kinds.NamespaceCreate,
    "/namespaces/update": kinds.NamespaceUpdate,
    "/namespaces/delete": kinds.NamespaceDelete,
    "/snapshot/prepare": kinds.SnapshotPrepare,
    "/snapshot/commit": kinds.SnapshotCommit,
    "/snapshot/remove": kinds.SnapshotRemove,
    "/tasks/create": kinds.TaskCreate,
    "/tasks/start": kinds.TaskStart,
    "/tasks/exit": kinds.TaskExit,
    "/tasks/delete": kinds.TaskDelete,
    "/tasks/checkpointed": kinds.TaskCheckpointed,
    "/tasks/exec-added": kinds.TaskExecAdded,
    "/tasks/exec-started": kinds.TaskExecStarted,
    "/tasks/oom": kinds.TaskOOM,
    "/tasks/paused": kinds.TaskPaused,
    "/tasks/resumed": kinds.TaskResumed,
}


class Service:
    def __init__(self, daemon: Daemon) -> None:
        self._events = daemon.events

    def publish(self, request: wire.PublishRequest, context: Context) -> Empty:
        payload = convert.typed_value(request.event)
        now = convert.now()
        self._events.forward(Event(now, context.namespace, request.topic, payload=payload))
        return Empty()

    def forward(self, request: wire.ForwardRequest, context: Context) -> Empty:
        envelope = request.envelope
        if envelope is None:
            raise InvalidArgument("envelope must be set")
        time = envelope.timestamp.nanoseconds() if envelope.timestamp else 0
        payload = convert.typed_value(envelope.event)
        self._events.forward(Event(time, envelope.namespace, envelope.topic, payload=payload))
        return Empty()

    def subscribe(self, request: wire.SubscribeRequest, context: Context) -> Iterator[Envelope]:
        with self._events.subscribe(request.filters) as subscription:
            context.on_cancel(subscription.close)
            while (event := subscription.next()) is not None:
                yield envelope(event)


def envelope(event: Event) -> Envelope:
    """The event as clients get it."""
    payload = convert.any_message(event.payload)
    if payload is None:
        kind = TOPICS[event.topic]
        payload = Any.pack(kind(**{n: _wire_value(n, v, kind) for n, v in event.fields.items()}))
    return Envelope(
        timestamp=Timestamp.of(event.timestamp),
        namespace=event.namespace,
        topic=event.topic,
        event=payload,
    )


def _wire_value(name: str, value: object, kind: type[Message]) -> object:
    if isinstance(value, TypedValue):
        return convert.any_message(value)
    if name == "exited_at":
        return Timestamp.of(int(str(value)))
    if isinstance(value, tuple) and value and isinstance(value[0], Mount):
        return convert.mounts(value)
    inner = kind.fields[name].message
    if inner is not None and isinstance(value, dict):
        return inner(**{n: _wire_value(n, v, inner) for n, v in value.items()})
    return list(value) if isinstance(value, tuple) else value
