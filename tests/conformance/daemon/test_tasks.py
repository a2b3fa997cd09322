"""Running containers with Debian's ctr through our daemon, keeper, shim and runtime."""

from __future__ import annotations

import json
import re
import secrets
import shlex
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from tests.conformance.ctr.daemons import IMAGE
from tests.conformance.daemon.world import World

pytestmark = [pytest.mark.root, pytest.mark.peer]


@pytest.fixture
def tasks(world: World) -> Iterator[World]:
    """The world in the arena's own namespace, with the image, and nothing left running."""
    world.namespace = world.arena.name
    world.ok("images", "import", world.archive)
    yield world
    for name in world.ok("tasks", "ls", "-q").split():
        world.ctr("tasks", "rm", "--force", name)
    for name in world.ok("containers", "ls", "-q").split():
        world.ctr("containers", "rm", name)
    assert world.ok("tasks", "ls", "-q") == ""


def until(holds: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("script", "status"), [("true", 0), ("exit 42", 42), ("sh -c 'kill -9 $$'; exit $?", 137)]
)
def test_run_gives_the_status_of_its_process(tasks: World, script: str, status: int) -> None:
    done = tasks.ctr("run", "--rm", IMAGE, "t1", "sh", "-c", script)
    assert done.returncode == status, done.stderr
    assert tasks.ok("containers", "ls", "-q") == ""


def test_input_and_output(tasks: World) -> None:
    sent = "line\n" * 50_000
    done = tasks.ctr("run", "--rm", IMAGE, "t1", "sh", "-c", "cat; echo end >&2", input=sent)
    assert (done.returncode, done.stdout, done.stderr) == (0, sent, "end\n")


def test_a_terminal(tasks: World) -> None:
    command = shlex.join(tasks.words("run", "-t", "--rm", IMAGE, "t1", "sh", "-c", "tty; exit 3"))
    done = tasks.arena.run(["script", "-qec", command, "/dev/null"], input="")
    assert done.returncode == 3, done.stdout
    assert "/dev/pts/0" in done.stdout


def test_a_detached_container(tasks: World) -> None:
    tasks.ok("run", "-d", IMAGE, "web", "sleep", "100")
    assert re.search(r"^web +\d+ +RUNNING", tasks.ok("tasks", "ls"), re.M)
    pid = re.search(r"^web +(\d+)", tasks.ok("tasks", "ls"), re.M)
    assert pid is not None
    assert pid[1] in tasks.ok("tasks", "ps", "web")
    assert tasks.ctr("tasks", "rm", "web").returncode == 1
    assert tasks.ctr("containers", "rm", "web").returncode == 1
    tasks.ok("tasks", "kill", "-s", "KILL", "web")
    until(lambda: tasks.status("web") == "STOPPED")
    removed = tasks.ctr("tasks", "rm", "web")
    assert "137" in removed.stderr or removed.returncode == 137
    tasks.ok("containers", "rm", "web")
    assert tasks.first_column("snapshots", "ls")[0].startswith("sha256:")


def test_exec(tasks: World) -> None:
    tasks.ok("run", "-d", IMAGE, "web", "sleep", "100")
    done = tasks.ctr("tasks", "exec", "--exec-id", "e1", "web", "sh", "-c", "echo out; exit 5")
    assert (done.returncode, done.stdout) == (5, "out\n")
    again = tasks.ctr("tasks", "exec", "--exec-id", "e1", "web", "cat", input="typed\n")
    assert (again.returncode, again.stdout) == (0, "typed\n")
    nothing = tasks.ctr("tasks", "exec", "--exec-id", "e2", "web", "/nothing")
    assert nothing.returncode != 0
    assert "/nothing" in nothing.stderr
    assert tasks.status("web") == "RUNNING"


def test_pause_and_resume(tasks: World) -> None:
    tasks.ok("run", "-d", IMAGE, "web", "sleep", "100")
    tasks.ok("tasks", "pause", "web")
    assert tasks.status("web") == "PAUSED"
    tasks.ok("tasks", "resume", "web")
    assert tasks.status("web") == "RUNNING"


def test_metrics(tasks: World) -> None:
    tasks.ok("run", "-d", IMAGE, "web", "sleep", "100")
    shown = tasks.ok("tasks", "metrics", "--format", "json", "web")
    assert json.loads(shown)


def test_a_created_container_is_started_and_attached_to(tasks: World) -> None:
    tasks.ok("containers", "create", IMAGE, "web", "echo", "hello")
    done = tasks.ctr("tasks", "start", "web")
    assert (done.returncode, done.stdout) == (0, "hello\n")
    tasks.ctr("tasks", "rm", "web")


def test_a_program_that_is_not_there(tasks: World) -> None:
    done = tasks.ctr("run", "--rm", IMAGE, "t1", "/no/such/program")
    assert done.returncode != 0
    assert "/no/such/program" in done.stderr
    assert "Traceback" not in done.stderr
    assert tasks.ok("tasks", "ls", "-q") == ""


def test_events_of_a_run(tasks: World) -> None:
    log = f"run-events-{tasks.series}-{secrets.token_hex(3)}.log"
    watching = tasks.arena.start(tasks.words("events"), log=log)
    time.sleep(0.5)
    tasks.ok("run", "--rm", IMAGE, "seen", "true")
    path = tasks.arena.scratch / log
    until(lambda: "/containers/delete" in path.read_text())
    watching.send_signal(signal.SIGKILL)
    watching.wait()
    topics = re.findall(r" (/(?:tasks|containers)/[a-z-]+) ", path.read_text())
    assert topics == [
        "/containers/create", "/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete",
        "/containers/delete",
    ]  # fmt: skip


def test_a_killed_daemon_loses_nothing(tasks: World) -> None:
    out = tasks.arena.scratch / f"ticks-{tasks.series}"
    script = "while :; do echo tick; sleep 0.1; done"
    tasks.ok("run", "-d", "--log-uri", f"file://{out}", IMAGE, "ticks", "sh", "-c", script)
    tasks.ok("run", "-d", IMAGE, "brief", "sh", "-c", "sleep 1; exit 23")
    until(lambda: out.exists() and "tick" in out.read_text())
    tasks.stop("KILL")
    before = out.read_text().count("tick")
    time.sleep(1.5)
    assert out.read_text().count("tick") > before
    tasks.start()
    assert tasks.status("ticks") == "RUNNING"
    assert tasks.status("brief") == "STOPPED"
    assert "23" in tasks.ctr("tasks", "rm", "brief").stderr
    tasks.ok("tasks", "kill", "-s", "KILL", "ticks")
    until(lambda: tasks.status("ticks") == "STOPPED")
    assert "137" in tasks.ctr("tasks", "rm", "ticks").stderr
