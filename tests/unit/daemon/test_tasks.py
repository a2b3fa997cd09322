"""Tasks over pretended shims: order of events, waiting, restarts of the daemon, dead shims."""

from __future__ import annotations

import errno
import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pinnace.daemon.events import Exchange
from pinnace.daemon.log import Log
from pinnace.daemon.task import LOST_STATUS, ProcessState, Stdio
from pinnace.daemon.tasks import Tasks
from pinnace.errors import (
    AlreadyExists,
    Error,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
)
from tests.unit.daemon.shims import FakeShims

SPEC = b'{"ociVersion": "1.0.0"}'
NS = "default"


class World:
    """A daemon's tasks, what they told, and the shims behind them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.shims = FakeShims()
        self.restart()

    def restart(self) -> None:
        self.events = Exchange()
        self.heard = self.events.subscribe()
        self.tasks = Tasks(str(self.root / "tasks"), self.shims, self.events, Log("panic"))

    def create(self, name: str = "c1") -> int:
        return self.tasks.create(NS, name, SPEC, (), Stdio("", "/out"), {})

    def topics(self) -> list[str]:
        self.events.publish("end", "/end")
        found: list[str] = []
        while (event := self.heard.next()) is not None and event.topic != "/end":
            found.append(event.topic.removeprefix("/tasks/"))
        return found

    def state(self, exec_id: str = "") -> ProcessState:
        return self.tasks.find(NS, "c1").process(exec_id)

    def left_behind(self) -> list[str]:
        return [str(p.relative_to(self.root)) for p in self.root.rglob("*") if p.is_file()]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def never() -> bool:
    return False


def test_the_life_of_a_task(world: World) -> None:
    assert world.create() == 100
    assert world.state().status == "created"
    assert world.tasks.start(NS, "c1") == 100
    assert world.state().status == "running"
    with pytest.raises(FailedPrecondition):
        world.tasks.delete(NS, "c1")
    world.shims.only.end("", 7)
    assert world.state().exit_status == 7
    found = world.tasks.delete(NS, "c1")
    assert (found.status, found.pid) == (7, 100)
    assert world.topics() == ["create", "start", "exit", "delete"]
    assert world.left_behind() == []
    with pytest.raises(NotFound, match="task c1 not found"):
        world.tasks.find(NS, "c1")


def test_an_exit_before_start_returns_is_told_after_the_start(world: World) -> None:
    world.create()
    world.shims.only.exit_at_start = 3
    world.tasks.start(NS, "c1")
    assert world.topics() == ["create", "start", "exit"]
    assert world.state().exit_status == 3


def test_an_exit_reported_twice_is_told_once(world: World) -> None:
    world.create()
    world.tasks.start(NS, "c1")
    world.shims.only.end("", 1)
    world.shims.only.end("", 2)
    assert world.topics() == ["create", "start", "exit"]
    assert world.state().exit_status == 1


def test_waiting_ends_with_the_process(world: World) -> None:
    world.create()
    world.tasks.start(NS, "c1")
    threading.Timer(0.02, lambda: world.shims.only.end("", 42)).start()
    assert world.tasks.find(NS, "c1").wait("", never, 5).exit_status == 42


def test_waiting_ends_when_nobody_waits_any_more(world: World) -> None:
    world.create()
    task = world.tasks.find(NS, "c1")
    gone = threading.Event()

    def leave() -> None:
        gone.set()
        task.wake()

    threading.Timer(0.02, leave).start()
    with pytest.raises(TimeoutError):
        task.wait("", gone.is_set, None)
    with pytest.raises(TimeoutError):
        task.wait("", never, 0.01)


def test_further_processes(world: World) -> None:
    world.create()
    world.tasks.start(NS, "c1")
    world.tasks.exec(NS, "c1", "e1", b'{"args": ["ls"]}', Stdio())
    with pytest.raises(AlreadyExists):
        world.tasks.exec(NS, "c1", "e1", b"{}", Stdio())
    assert world.tasks.start(NS, "c1", "e1") == 200
    world.shims.only.end("e1", 5)
    assert world.tasks.delete_process(NS, "c1", "e1").status == 5
    assert world.topics() == ["create", "start", "exec-added", "exec-started", "exit"]
    with pytest.raises(NotFound):
        world.state("e1")


def test_a_failed_creation_leaves_nothing(world: World) -> None:
    world.shims.next_fail = {"create": PermissionDenied("no such root")}
    with pytest.raises(PermissionDenied):
        world.create()
    assert world.left_behind() == []
    assert world.topics() == []
    world.shims.next_fail = {}
    world.create()


def test_a_failed_start_can_be_deleted(world: World) -> None:
    world.create()
    world.shims.only.fail["start"] = NotFound("executable file `/nope` not found")
    with pytest.raises(NotFound, match="/nope"):
        world.tasks.start(NS, "c1")
    del world.shims.only.fail["start"]
    world.tasks.delete(NS, "c1")
    assert world.left_behind() == []


@pytest.mark.parametrize("name", ["", "..", "a/b", "../../etc", "a" * 200])
def test_names_cannot_leave_the_directory(world: World, name: str) -> None:
    with pytest.raises(InvalidArgument):
        world.create(name)
    with pytest.raises(InvalidArgument):
        world.tasks.create(f"../{name}", "c1", SPEC, (), Stdio(), {})
    assert world.left_behind() == []


@pytest.mark.parametrize("spec", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_a_spec_that_is_none_is_refused(world: World, spec: bytes) -> None:
    with pytest.raises(InvalidArgument):
        world.tasks.create(NS, "c1", spec, (), Stdio(), {})
    assert world.left_behind() == []


def test_the_same_id_is_refused_and_another_namespace_has_its_own(world: World) -> None:
    world.create()
    with pytest.raises(AlreadyExists):
        world.create()
    world.tasks.create("other", "c1", SPEC, (), Stdio(), {})
    assert [task.namespace for task in world.tasks.list("other")] == ["other"]


def test_pause_and_resume_show(world: World) -> None:
    world.create()
    world.tasks.start(NS, "c1")
    world.tasks.pause(NS, "c1", paused=True)
    assert world.state().status == "paused"
    world.tasks.pause(NS, "c1", paused=False)
    assert world.state().status == "running"
    assert world.topics()[-2:] == ["paused", "resumed"]


def test_killing_one_that_has_ended_is_not_found(world: World) -> None:
    world.create()
    world.tasks.start(NS, "c1")
    world.shims.only.end("", 0)
    with pytest.raises(NotFound, match="already finished"):
        world.tasks.kill(NS, "c1", "", 15)


def test_a_new_daemon_finds_its_tasks_and_hears_their_end(world: World) -> None:
    world.create()
    world.tasks.start(NS, "c1")
    world.tasks.exec(NS, "c1", "e1", b"{}", Stdio())
    world.restart()
    world.tasks.reconnect()
    assert world.state().status == "running"
    assert world.state().stdio.stdout == "/out"
    assert world.state("e1").status == "created"
    world.shims.only.end("", 9)
    assert world.topics() == ["exit"]
    assert world.tasks.delete(NS, "c1").status == 9


def test_a_new_daemon_learns_of_an_end_it_did_not_see(world: World) -> None:
    world.create()
    world.tasks.start(NS, "c1")
    world.shims.only.end("", 4)
    world.restart()
    world.tasks.reconnect()
    assert world.state().exit_status == 4


def test_an_end_recorded_by_a_shim_that_has_gone_is_not_lost(world: World) -> None:
    world.create()
    world.tasks.start(NS, "c1")
    shim = world.shims.only
    recorded = {"pid": 100, "status": 6, "exited_at": 123}
    Path(shim.state, "exit.json").write_text(json.dumps(recorded))
    shim.alive = False
    world.restart()
    world.tasks.reconnect()
    assert (world.state().exit_status, world.state().exited_at) == (6, 123)
    assert world.tasks.delete(NS, "c1").status == 6
    assert world.left_behind() == []


def test_bundles_without_shim_are_removed_at_start(world: World) -> None:
    world.create()
    world.shims.only.alive = False
    world.restart()
    world.tasks.reconnect()
    assert world.tasks.list(NS) == []
    assert world.left_behind() == []


def test_a_shim_that_died_while_no_daemon_was_there_ends_its_processes(world: World) -> None:
    world.create()
    shim = world.shims.only
    Path(shim.state, "runc", "c1").mkdir(parents=True)
    shim.alive = False
    world.restart()
    world.tasks.reconnect()
    task = world.tasks.find(NS, "c1")
    assert task.wait("", lambda: False, 20).exit_status == LOST_STATUS
    assert world.topics() == ["exit"]
    assert world.tasks.delete(NS, "c1").status == LOST_STATUS


@pytest.mark.parametrize(
    "problem", [OSError(errno.EMFILE, "Too many open files"), ResourceExhausted("no thread")]
)
def test_a_daemon_that_can_not_ask_a_shim_does_not_start(world: World, problem: Exception) -> None:
    """Its container would be ended as one whose shim is gone."""
    world.create()
    world.tasks.start(NS, "c1")
    shim = world.shims.only
    Path(shim.state, "runc", "c1").mkdir(parents=True)
    shim.fail["subscribe"] = problem
    world.restart()
    with pytest.raises(ResourceExhausted):
        world.tasks.reconnect()
    shim.fail.clear()
    world.restart()
    world.tasks.reconnect()
    assert world.state().status == "running"


def test_a_shim_that_never_made_its_container_is_ended(world: World) -> None:
    world.create()
    world.shims.only.processes.clear()
    world.restart()
    world.tasks.reconnect()
    assert world.tasks.list(NS) == []
    assert ("shutdown", {}) in world.shims.only.calls
    assert world.left_behind() == []


def test_a_shim_without_a_bundle_is_ended(world: World) -> None:
    world.create()
    shim = world.shims.only
    Path(shim.state, "shim.sock").touch()
    shutil.rmtree(world.root / "tasks")
    world.restart()
    world.tasks.reconnect()
    assert ("shutdown", {}) in shim.calls
    assert not Path(shim.state).exists()


def test_a_shim_that_came_too_late_for_its_daemon_makes_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, states = world.shims.start, []

    def in_the_way(namespace: str, identifier: str, bundle: str, state: str) -> str:
        states.append(state)
        if len(states) == 1:
            Path(state, "shim.sock").touch()
            raise Error("another process already serves it")
        assert not Path(state, "shim.sock").exists()
        return start(namespace, identifier, bundle, state)

    monkeypatch.setattr(world.shims, "start", in_the_way)
    assert world.create() == 100


def test_a_shim_that_dies_ends_its_processes(world: World) -> None:
    world.create()
    world.tasks.start(NS, "c1")
    world.shims.only.die()
    assert world.state().exit_status == LOST_STATUS
    assert world.topics()[-1] == "exit"
    assert world.tasks.delete(NS, "c1").status == LOST_STATUS
    assert world.left_behind() == []


@pytest.mark.parametrize(
    "use",
    [
        lambda tasks: tasks.start(NS, "none"),
        lambda tasks: tasks.delete(NS, "none"),
        lambda tasks: tasks.kill(NS, "none", "", 9),
        lambda tasks: tasks.pause(NS, "none", paused=True),
        lambda tasks: tasks.exec(NS, "none", "e", b"{}", Stdio()),
        lambda tasks: tasks.call(NS, "none", "pids"),
    ],
)
def test_tasks_that_are_not_there(world: World, use: Callable[[Tasks], object]) -> None:
    with pytest.raises(NotFound, match="task none not found"):
        use(world.tasks)


def test_a_shim_that_ends_itself_is_not_asked_to_and_waited_for_before_the_next(
    world: World,
) -> None:
    world.create()
    shim = world.shims.only
    shim.ends_itself = True
    world.tasks.delete(NS, "c1")
    assert [method for method, _ in shim.calls] == ["subscribe", "create", "delete"]
    assert world.topics() == ["create", "delete"]
    again = threading.Thread(target=world.create, daemon=True)
    again.start()
    again.join(0.1)
    assert again.is_alive()  # what it had mounted may still be there
    shim.die()
    again.join(10)
    assert world.topics() == ["create"]
    assert world.state().status == "created"


def test_a_shim_that_dies_while_it_deletes_ends_its_processes(world: World) -> None:
    world.create()
    world.shims.only.alive = False  # nobody has been told yet
    assert world.tasks.delete(NS, "c1").status == LOST_STATUS
    assert world.topics() == ["create", "exit", "delete"]
    assert world.left_behind() == []
