"""The event exchange: order, filters, and what happens to a slow listener."""

from __future__ import annotations

import threading

import pytest

from pinnace.daemon import events
from pinnace.daemon.events import Event, Exchange
from pinnace.errors import InvalidArgument, ResourceExhausted
from pinnace.store.records import TypedValue


def topics(subscription: events.Subscription, count: int) -> list[str]:
    found = [subscription.next() for _ in range(count)]
    return [event.topic for event in found if event is not None]


def test_every_subscriber_gets_every_event_in_order() -> None:
    exchange = Exchange()
    with exchange.subscribe() as first, exchange.subscribe() as second:
        for name in ("create", "start", "exit"):
            exchange.publish("default", f"/tasks/{name}", container_id="c1")
        expected = ["/tasks/create", "/tasks/start", "/tasks/exit"]
        assert topics(first, 3) == topics(second, 3) == expected


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["topic==/tasks/exit"], ["/tasks/exit"]),
        (["namespace==other"], ["/images/create"]),
        (['topic~="^/tasks/"', "topic==/images/create"], ["/tasks/exit", "/images/create"]),
        (["event.container_id==c1"], ["/tasks/exit"]),
        (["topic==/tasks/exit,namespace==other"], []),
    ],
)
def test_filters_choose(filters: list[str], expected: list[str]) -> None:
    exchange = Exchange()
    with exchange.subscribe(filters) as subscription:
        exchange.publish("default", "/tasks/exit", container_id="c1")
        exchange.publish("other", "/images/create", name="i")
        exchange.publish("end", "/end/end")
        assert topics(subscription, len(expected)) == expected


def test_a_bad_filter_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        Exchange().subscribe(["topic=="])


def test_closing_wakes_the_listener() -> None:
    subscription = Exchange().subscribe()
    timer = threading.Timer(0.02, subscription.close)
    timer.start()
    assert subscription.next() is None


def test_a_listener_that_falls_behind_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_QUEUE", 3)
    exchange = Exchange()
    with exchange.subscribe() as subscription:
        for number in range(5):
            exchange.publish("default", f"/n/{number}")
        assert topics(subscription, 3) == ["/n/0", "/n/1", "/n/2"]
        with pytest.raises(ResourceExhausted):
            subscription.next()


@pytest.mark.parametrize("topic", ["", "tasks", "/", "/a//b", "/a b"])
def test_foreign_events_are_checked(topic: str) -> None:
    payload = TypedValue("x", b"")
    with pytest.raises(InvalidArgument):
        Exchange().forward(Event(1, "default", topic, payload=payload))
    with pytest.raises(InvalidArgument):
        Exchange().forward(Event(1, "", "/a/b", payload=payload))
    with pytest.raises(InvalidArgument):
        Exchange().forward(Event(1, "default", "/a/b"))
