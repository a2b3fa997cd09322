"""The event exchange: what happens in the daemon, told to whoever listens.

An event has a topic such as ``/tasks/exit`` and either named fields (ours, encoded for the wire by
the API) or a typed payload (published by a client). Subscribers get every event that their filters
match, in order, from the moment they subscribed; one that does not keep up is cut off with an
error, never left with a gap: dockerd learns of a container's end from events alone.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from pinnace.errors import InvalidArgument, ResourceExhausted
from pinnace.store import filters, records

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_QUEUE = 20_000
"""Events that wait for one subscriber."""
_TOPIC = re.compile(r"(?:/[A-Za-z0-9._-]+)+\Z")


class Event(NamedTuple):
    """Something that happened; the timestamp is in nanoseconds since the epoch."""

    timestamp: int
    namespace: str
    topic: str
    fields: Mapping[str, object] = {}
    payload: records.TypedValue | None = None


class Subscription:
    """The events for one listener; a context manager that ends the subscription."""

    def __init__(self, exchange: Exchange, filter_texts: Sequence[str]) -> None:
        self._exchange = exchange
        self._matches = filters.parse_all(filter_texts)
        self._events: deque[Event] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._lost = False

    def offer(self, event: Event) -> None:
        """Queue the event if it matches; never waits."""
        if not self._matches(lambda path: _field(event, path)):
            return
        with self._changed:
            self._lost = self._lost or len(self._events) >= MAX_QUEUE
            if not self._lost:
                self._events.append(event)
            self._changed.notify_all()

    def next(self, timeout: float | None = None) -> Event | None:
        """Wait for the next event; ``None`` when the subscription was closed, or none came in ``timeout`` seconds.

        Raises ResourceExhausted when events had to be dropped.
        """
        with self._changed:
            while not self._events and not self._closed and not self._lost:
                if not self._changed.wait(timeout):
                    return None
            if self._events:
                return self._events.popleft()
            if self._lost:
                raise ResourceExhausted(f"subscriber was more than {MAX_QUEUE} events behind")
            return None

    def close(self) -> None:
        """End the subscription and wake its listener; may be called from any thread."""
        self._exchange.remove(self)
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Exchange:
    """Gives every published event to all subscriptions."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscriptions: list[Subscription] = []

    def publish(self, namespace: str, topic: str, **fields: object) -> None:
        """Tell of one of the daemon's own events."""
        self._give(Event(time.time_ns(), namespace, topic, fields))

    def forward(self, event: Event) -> None:
        """Pass on an event of a client; raises InvalidArgument when it is not well formed."""
        if event.payload is None:
            raise InvalidArgument("event has no payload")
        records.check_identifier(event.namespace, "event namespace")
        if not _TOPIC.match(event.topic):
            raise InvalidArgument(f"topic {event.topic!r} must be like /a/b")
        self._give(event)

    def subscribe(self, filter_texts: Sequence[str] = ()) -> Subscription:
        """Listen from now on; raises InvalidArgument for a bad filter."""
        subscription = Subscription(self, filter_texts)
        with self._lock:
            self._subscriptions.append(subscription)
        return subscription

    def remove(self, subscription: Subscription) -> None:
        """Forget a subscription; nothing happens when it is not known."""
        with self._lock:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)

    def _give(self, event: Event) -> None:
        # Under the lock, so that all subscribers see the same order.
        with self._lock:
            for subscription in self._subscriptions:
                subscription.offer(event)


def _field(event: Event, path: Sequence[str]) -> str | None:
    if path[0] == "event":
        value = event.fields.get(path[1]) if len(path) > 1 else None
        if isinstance(value, dict):
            return filters.labels_field(value, path[1:])
        return None if value is None or value == "" else str(value)
    return {"topic": event.topic, "namespace": event.namespace}.get(".".join(path))
