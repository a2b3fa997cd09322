"""The Events service for shims, over ttrpc: what they tell of their containers.

Of its own tasks the daemon tells itself, in the order that its clients rely on; what it can't see is taken from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema import events as kinds
from pinnace.api.schema import eventservice as wire
from pinnace.api.schema.wellknown import Empty
from pinnace.api.services import convert
from pinnace.api.services.events import TOPICS
from pinnace.daemon.events import Event
from pinnace.errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    from pinnace.daemon.daemon import Daemon

SCHEMA = wire.ShimEvents


class Service:
    def __init__(self, daemon: Daemon) -> None:
        self._events = daemon.events
        self._tasks = daemon.tasks

    def forward(self, request: wire.ForwardRequest) -> Empty:
        envelope = request.envelope
        if envelope is None:
            raise InvalidArgument("envelope must be set")
        if envelope.topic == "/tasks/oom" and envelope.event is not None:
            self._out_of_memory(envelope.namespace, envelope.event.unpack(kinds.TaskOOM))
        elif envelope.topic not in TOPICS:
            stamp = envelope.timestamp.nanoseconds() if envelope.timestamp else 0
            payload = convert.typed_value(envelope.event)
            event = Event(stamp, envelope.namespace, envelope.topic, payload=payload)
            self._events.forward(event)
        return Empty()

    def _out_of_memory(self, namespace: str, event: kinds.TaskOOM) -> None:
        try:
            task = self._tasks.find(namespace, event.container_id)
        except NotFound:
            return  # told late: the task is deleted
        task.on_event({"event": "oom"})
