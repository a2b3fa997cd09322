"""A command in the foreground goes on while its daemon is restarted: as the unit of a Container resource runs it."""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from pinnace.daemon.task import LOST_STATUS
from tests.conformance.ctr.daemons import IMAGE
from tests.conformance.daemon.world import ADDRESS, World
from toolkit.arena import Arena

pytestmark = [pytest.mark.root, pytest.mark.peer]
_SERVE = "trap 'echo bye; exit 5' TERM; echo here; i=0; while true; do i=$((i+1)); echo $i; sleep 0.1; done"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with Arena() as arena:
        found = World(arena)
        found.start_keeper()
        found.start()
        found.ok("images", "import", found.archive)
        yield found


class Command:
    """Our ctr in the foreground, its output in a file."""

    def __init__(self, world: World, name: str, *words: str) -> None:
        self._log = world.arena.scratch / f"{name}-{secrets.token_hex(3)}.out"
        ours = [sys.executable, "-m", "pinnace.cli.main", "ctr", "--address", ADDRESS, "--namespace", world.namespace]  # fmt: skip
        self.process = world.arena.start(
            [*ours, *words], log=self._log.name, env=world.environment()
        )
        self._world = world
        self._name = name

    def said(self) -> list[str]:
        return self._log.read_text().split("\n") if self._log.exists() else []

    def says_more(self) -> None:
        before = len(self.said())
        _until(lambda: len(self.said()) > before + 3, "it goes on")

    def signal(self, number: int) -> None:
        """To the command itself: what was started is nsenter."""
        pattern = f"[c]tr --address .* {self._name} sh"
        done = self._world.arena.run(["pkill", f"-{number}", "-f", pattern])
        assert done.returncode == 0


@pytest.fixture(autouse=True)
def _daemon_runs(world: World) -> Iterator[None]:
    """Whatever the test before has left."""
    yield
    if world.arena.run(world.words("version")).returncode:
        world.start()


def _until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.02)


@pytest.mark.parametrize("end", ["TERM", "KILL"])
def test_it_goes_on_with_the_next_daemon(world: World, end: str) -> None:
    name = f"on-{end.lower()}"
    command = Command(world, name, "run", "--rm", IMAGE, name, "sh", "-c", _SERVE)
    _until(lambda: "here" in command.said(), "it runs")
    for _ in range(2):
        world.stop(end)
        command.says_more()
        world.start()
        command.says_more()
    command.signal(signal.SIGTERM)
    assert command.process.wait(60) == 5
    assert command.said()[-2] == "bye"
    assert name not in world.ok("containers", "ls", "-q").split()
    assert world.status(name) == ""


def test_what_happens_without_a_daemon_is_told_afterwards(world: World) -> None:
    """Its end, in one case of its own accord, in the other because of a signal that came meanwhile."""
    script = "echo here; while [ ! -e /tmp/end ]; do sleep 0.1; done; exit 7"
    place = world.arena.scratch / f"seen-{secrets.token_hex(3)}"
    place.mkdir()
    mount = f"type=bind,src={place},dst=/tmp,options=rbind:rw"
    ends = Command(world, "ends", "run", "--rm", "--mount", mount, IMAGE, "ends", "sh", "-c", script)  # fmt: skip
    told = Command(world, "told", "run", "--rm", IMAGE, "told", "sh", "-c", _SERVE)
    _until(lambda: "here" in ends.said() and "here" in told.said(), "both run")
    world.stop("KILL")
    (place / "end").touch()
    told.signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        ends.process.wait(1)
    world.start()
    assert ends.process.wait(60) == 7
    assert told.process.wait(60) == 5


def test_a_process_that_ended_with_its_shim_meanwhile_has_that_status(world: World) -> None:
    command = Command(world, "gone", "run", "--rm", IMAGE, "gone", "sh", "-c", _SERVE)
    _until(lambda: "here" in command.said(), "it runs")
    world.stop("KILL")
    world.arena.run(["pkill", "-KILL", "pinnace-shim"])
    world.start()
    assert command.process.wait(60) == LOST_STATUS
