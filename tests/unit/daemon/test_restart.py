"""The restart monitor over pretended shims: which containers it starts again, when, and which it leaves alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pinnace.daemon.catalog import Catalog
from pinnace.daemon.collector import Collector
from pinnace.daemon.events import Exchange
from pinnace.daemon.log import Log
from pinnace.daemon.restart import (
    COUNT,
    EXPLICITLY_STOPPED,
    FIRST_WAIT,
    LOG_URI,
    POLICY,
    STATUS,
    Monitor,
    Policy,
)
from pinnace.daemon.runtimes import Runtime
from pinnace.daemon.task import Stdio
from pinnace.daemon.tasks import Tasks
from pinnace.errors import InvalidArgument, NotFound
from pinnace.store.containers import Container
from pinnace.store.records import TypedValue
from pinnace.store.store import Store
from tests.unit.daemon.shims import FakeShims

NS = "default"
SPEC = b'{"ociVersion": "1.0.0"}'
INTERVAL = 10.0


def _own(name: str, _: object) -> Runtime:
    return Runtime(name)


class World:
    """One container of a daemon, and the monitor, whose thread does not run: tests tell it the time."""

    def __init__(self, root: Path) -> None:
        events, log = Exchange(), Log("panic")
        self.events = events
        self.store = Store(str(root / "root"))
        self.store.namespaces.create(NS, {})
        self.shims = FakeShims()
        self.tasks = Tasks(str(root / "tasks"), self.shims, events, log)
        collector = Collector(lambda: None, lambda: None, log.error)
        catalog = Catalog(self.store, events, collector)
        self._parts = (self.store, catalog, self.tasks, events, log, INTERVAL, _own)
        self.reboot()

    def reboot(self) -> None:
        self.monitor = Monitor(*self._parts)

    def container(self, **labels: str) -> None:
        """``policy``, ``loguri`` ...; its status is to be running unless given."""
        named = {
            STATUS: "running",
            **{f"containerd.io/restart.{k.replace('_', '-')}": v for k, v in labels.items()},
        }
        record = Container("c1", TypedValue("spec", SPEC), "io.containerd.runc.v2", labels=named)
        self.store.containers.create(NS, record)

    def labels(self) -> dict[str, str]:
        return dict(self.store.containers.get(NS, "c1").labels)

    def run(self) -> None:
        """What a client does: create, start."""
        self.tasks.create(NS, "c1", SPEC, (), Stdio(), {})
        self.tasks.start(NS, "c1")

    def end(self, status: int) -> None:
        list(self.shims.by_address.values())[-1].end("", status)

    def status(self) -> str:
        try:
            return self.tasks.find(NS, "c1").process().status
        except NotFound:
            return "absent"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.store.close()


@pytest.mark.parametrize(
    ("policy", "labels", "exit_status", "wanted"),
    [
        ("", {}, 0, True),
        ("always", {EXPLICITLY_STOPPED: "true"}, 0, True),
        ("no", {}, 1, False),
        ("unless-stopped", {}, 0, True),
        ("unless-stopped", {EXPLICITLY_STOPPED: "false"}, 0, True),
        ("unless-stopped", {EXPLICITLY_STOPPED: "true"}, 1, False),
        ("on-failure", {}, 0, False),
        ("on-failure", {COUNT: "1000"}, 1, True),
        ("on-failure:3", {COUNT: "2"}, 1, True),
        ("on-failure:3", {COUNT: "3"}, 1, False),
        ("on-failure:3", {COUNT: "nonsense"}, 1, True),
    ],
)
def test_policies(policy: str, labels: dict[str, str], exit_status: int, wanted: bool) -> None:
    assert Policy.parse(policy).wants(labels, exit_status) is wanted


@pytest.mark.parametrize(
    "text", ["sometimes", "always:3", "on-failure:", "on-failure:-1", "on-failure:x"]
)
def test_policies_that_are_none(text: str) -> None:
    with pytest.raises(InvalidArgument, match="restart policy"):
        Policy.parse(text)


def test_one_that_ended_runs_again_and_is_counted(world: World) -> None:
    world.container(policy="always", loguri="file:///log")
    world.run()
    assert world.monitor.look(0.0) == INTERVAL
    world.end(0)
    world.monitor.look(1.0)
    assert world.status() == "running"
    assert world.labels()[COUNT] == "1"
    assert world.tasks.find(NS, "c1").process().stdio == Stdio("", "file:///log", "file:///log")


def test_a_container_that_is_new_is_its_clients_to_start(world: World) -> None:
    world.monitor.look(0.0)
    world.container()
    assert world.monitor.look(1.0) == INTERVAL
    assert world.status() == "absent"
    world.monitor.look(1.0 + INTERVAL)
    assert world.status() == "running"


def test_after_a_reboot_it_is_started_at_once(world: World) -> None:
    world.container(policy="unless-stopped")
    world.monitor.look(0.0)
    assert world.status() == "running"


def test_waits_double_and_a_good_run_ends_that(world: World) -> None:
    world.container()
    world.run()
    world.monitor.look(0.0)
    world.end(1)
    now, waits = 1.0, []
    for _ in range(4):
        world.shims.next_fail = {"start": NotFound("no such program")}
        left = world.monitor.look(now)
        assert left is not None
        waits.append(left)
        assert world.status() == "absent"
        now += left
    assert waits == pytest.approx([FIRST_WAIT * factor for factor in (1, 2, 4, 8)])
    world.shims.next_fail = {}
    world.monitor.look(now)
    assert world.status() == "running"


def test_one_that_is_to_be_stopped_is_stopped(world: World) -> None:
    world.container()
    world.run()
    shim = world.shims.only
    changed = world.store.containers.get(NS, "c1")._replace(labels={STATUS: "stopped"})
    world.store.containers.update(NS, changed, (f"labels.{STATUS}",))
    shim.do_kill = lambda **_: shim.end("", 137) or {}  # type: ignore[attr-defined]
    world.monitor.look(0.0)
    assert world.status() == "absent"
    world.monitor.look(2 * INTERVAL)
    assert world.status() == "absent"


def test_a_wrong_label_stops_nobody_else(world: World) -> None:
    world.container(policy="whatever")
    record = Container(
        "c2", TypedValue("spec", SPEC), "io.containerd.runc.v2", labels={STATUS: "running"}
    )
    world.store.containers.create(NS, record)
    world.monitor.look(0.0)
    assert [task.id for task in world.tasks.list(NS)] == ["c2"]


def test_nothing_is_looked_at_again_where_nothing_is_monitored(world: World) -> None:
    assert world.monitor.look(0.0) is None


def test_the_thread_hears_of_an_end_and_starts_again(world: World) -> None:
    world.container()
    world.run()
    heard = world.events.subscribe(('topic=="/tasks/start"',))
    world.monitor.start()
    world.end(3)
    assert heard.next(20) is not None
    world.monitor.stop()
    assert world.labels()[COUNT] == "1"
    assert LOG_URI not in world.labels()
    assert POLICY not in world.labels()
