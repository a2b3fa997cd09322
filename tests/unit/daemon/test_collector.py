"""When garbage is collected."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from pinnace.daemon import collector
from pinnace.daemon.collector import Collector


class Counted:
    def __init__(self) -> None:
        self.runs = 0
        self.changed = threading.Condition()
        self.expiry: float | None = None
        self.fail = False
        self.logged: list[str] = []

    def collect(self) -> None:
        with self.changed:
            self.runs += 1
            self.expiry = None
            self.changed.notify_all()
        if self.fail:
            raise OSError("disk")

    def wait_for(self, runs: int) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: self.runs >= runs, 3)


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def start(counted: Counted) -> Iterator[Callable[[], Collector]]:
    made: list[Collector] = []

    def begin() -> Collector:
        found = Collector(
            counted.collect, lambda: counted.expiry, counted.logged.append, delay=0, start_delay=0
        )
        found.start()
        made.append(found)
        return found

    yield begin
    for item in made:
        item.stop()


def test_it_runs_at_start_and_after_deletions(
    counted: Counted, start: Callable[[], Collector]
) -> None:
    found = start()
    assert counted.wait_for(1)
    found.freed()
    assert counted.wait_for(2)


def test_sync_has_collected_on_return(counted: Counted, start: Callable[[], Collector]) -> None:
    found = start()
    assert counted.wait_for(1)
    found.freed(sync=True)
    assert counted.runs == 2


def test_many_changes_start_it_and_few_do_not(
    counted: Counted, start: Callable[[], Collector]
) -> None:
    found = start()
    assert counted.wait_for(1)
    for _ in range(collector.MUTATION_THRESHOLD - 1):
        found.changed()
    time.sleep(0.03)
    assert counted.runs == 1
    found.changed()
    assert counted.wait_for(2)


def test_an_expiring_lease_wakes_an_idle_daemon(
    counted: Counted, start: Callable[[], Collector]
) -> None:
    found = start()
    assert counted.wait_for(1)
    counted.expiry = time.time() + 0.05
    found.leases_changed()
    assert counted.wait_for(2)


def test_a_failure_is_logged_and_not_the_end(
    counted: Counted, start: Callable[[], Collector]
) -> None:
    counted.fail = True
    found = start()
    assert counted.wait_for(1)
    found.freed(sync=True)
    assert counted.runs == 2
    assert counted.logged[-1] == "garbage collection failed: disk"
