"""Events under load: every subscriber is told everything that happens to every container, in one order, without a gap.

``PINNACE_EVENTS_CYCLES`` is how many containers there are.
"""

from __future__ import annotations

import os
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator

import pytest

from pinnace.api.client import Channel
from pinnace.api.schema import events
from pinnace.api.schema.eventservice import Events, PublishRequest, SubscribeRequest
from pinnace.api.schema.wellknown import Any as AnyMessage
from pinnace.errors import Error
from tests.faults.daemon_cycles import cycles
from tests.faults.test_daemon_killed import Stack, until
from toolkit.arena import Arena

pytestmark = [pytest.mark.root, pytest.mark.peer, pytest.mark.timeout(0)]
CYCLES = int(os.environ.get("PINNACE_EVENTS_CYCLES", "24"))
_SUBSCRIBERS = 8
_HELLO = "/test/hello"
_LAST = "/containers/delete"
_LIFE = (
    "/containers/create",
    "/tasks/create",
    "/tasks/start",
    "/tasks/exit",
    "/tasks/delete",
    _LAST,
)


@pytest.fixture
def stack() -> Iterator[Stack]:
    with Arena() as arena:
        yield Stack(arena)


class Subscriber:
    """Listens in a thread of its own, from before anything happens until it is closed."""

    def __init__(self, stack: Stack) -> None:
        self._channel = Channel(f"/proc/{stack.arena.pid}/root/run/pinnace/pinnace.sock", namespace=stack.arena.name)  # fmt: skip
        self.told: list[tuple[str, str]] = []
        """Topic of each event, and its bytes."""
        self.ended = 0
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        try:
            with self._channel.stream(Events.subscribe, SubscribeRequest()) as call:
                for envelope in call:
                    assert envelope.event is not None
                    self.told.append((str(envelope.topic), envelope.event.value.hex()))
                    self.ended += envelope.topic == _LAST
        except Error:
            return  # closed: the test is over

    def close(self) -> None:
        self._channel.close()
        self._thread.join(10)


def _names(topic: str, data: str) -> tuple[str, str]:
    """Which container an event is about, and which further process of it."""
    value = bytes.fromhex(data)
    if topic == "/containers/create":
        return str(events.ContainerCreate.decode(value).id), ""
    if topic == _LAST:
        return str(events.ContainerDelete.decode(value).id), ""
    if topic == "/tasks/exit":
        found = events.TaskExit.decode(value)
        container = str(found.container_id)
        return container, "" if found.id == container else str(found.id)
    kinds = {
        "/tasks/create": events.TaskCreate,
        "/tasks/start": events.TaskStart,
        "/tasks/delete": events.TaskDelete,
    }
    return (str(kinds[topic].decode(value).container_id), "") if topic in kinds else ("", "")


def test_every_subscriber_is_told_everything_in_one_order(stack: Stack) -> None:
    subscribers = [Subscriber(stack) for _ in range(_SUBSCRIBERS)]
    # Each is there once it hears of something.
    until(lambda: _heard(stack, subscribers), "all listen")
    count = cycles(stack, CYCLES, "c")
    until(lambda: all(each.ended >= count for each in subscribers), "all were told of the last")
    told = [[event for event in each.told if event[0] != _HELLO] for each in subscribers]
    shortest = min(map(len, told))
    assert all(each[:shortest] == told[0][:shortest] for each in told)
    lives: dict[str, list[str]] = defaultdict(list)
    for topic, data in told[0]:
        container, further = _names(topic, data)
        if container.startswith("c-") and not further:
            lives[container].append(topic)
    assert len(lives) == count
    assert Counter(map(tuple, lives.values())) == {_LIFE: count}
    for each in subscribers:
        each.close()


def _heard(stack: Stack, subscribers: list[Subscriber]) -> bool:
    """Publish something; whether all have been told of anything by now."""
    channel = Channel(f"/proc/{stack.arena.pid}/root/run/pinnace/pinnace.sock", namespace=stack.arena.name)  # fmt: skip
    event = AnyMessage(type_url="test", value=b"hello")
    channel.unary(Events.publish, PublishRequest(topic=_HELLO, event=event))
    channel.close()
    return all(each.told for each in subscribers)
