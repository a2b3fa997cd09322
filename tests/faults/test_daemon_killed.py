"""pinnaced, the keeper and shims killed at random moments under load: nothing is lost, wrong, or left.

``PINNACE_DAEMON_KILLS`` is how many kills there are (1000 is the full size), ``PINNACE_DAEMON_CLIENTS`` how many clients use the daemon.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pinnace.api.schema import tasks
from pinnace.api.schema.tasktypes import STATUS_RUNNING
from tests import staged
from tests.conformance.daemon.world import World
from tests.faults.daemon_load import KILLED, Cycle, Load, Patient, remaining, shim_name
from toolkit.arena import Arena

pytestmark = [pytest.mark.root, pytest.mark.peer, pytest.mark.timeout(0)]
KILLS = int(os.environ.get("PINNACE_DAEMON_KILLS", "100"))
CLIENTS = int(os.environ.get("PINNACE_DAEMON_CLIENTS", "6"))
_PAUSE_SECONDS = 0.1
_SETTLE_SECONDS = 60.0
_STEADY = 4
_DOZE_SECONDS = "0.05"
_ANSWERED = 0.8
"""How many of the daemons that are killed have answered before; the others were still starting."""
CONNECTIONS = 8
"""Descriptors of the daemon's connections to its database, two each: made when calls meet, kept."""
_SOCKET = "/run/pinnace/pinnace.sock"


class Service:
    """What systemd does for a unit with Restart=always."""

    def __init__(self, arena: Arena, words: list[str], log: str, environment: dict[str, str]) -> None:  # fmt: skip
        self._arena, self._words, self._log = arena, words, log
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = self._arena.start(self._words, log=self._log, env=self._environment)

    def pid(self) -> int:
        """The program itself, as this machine numbers it: what was started is nsenter."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        until(lambda: bool(children.read_text().split()), "the program has started")
        return int(children.read_text().split()[0])

    def kill(self) -> None:
        """SIGKILL, and a new one at once."""
        assert self._process is not None
        os.kill(self.pid(), signal.SIGKILL)
        self._process.wait(20)
        self.start()


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _SETTLE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.05)


class Stack:
    """The daemon and the keeper in an arena, and a way to look for what is left of their work."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self._world = World(arena)
        python = [sys.executable, "-m"]
        state = "/run/pinnace"
        arena.run(["mkdir", "-p", state])
        library = str(staged.release(arena.scratch / "release"))
        # Shims doze whenever they can: both what is asleep and what wakes up is hit.
        settings = {**os.environ, "PYTHONPATH": library, "PINNACE_DOZE_SECONDS": _DOZE_SECONDS}
        self.keeper = Service(arena, [*python, "pinnace.keeper", "--address", f"{state}/keeper.sock"], "keeper.log", settings)  # fmt: skip
        config = str(arena.scratch / "config.toml")
        self.daemon = Service(arena, [*python, "pinnace.cli.main", "pinnaced", "--config", config], "pinnaced.log", settings)  # fmt: skip
        self.keeper.start()
        arena.wait_for(f"{state}/keeper.sock", log="keeper.log")
        self.daemon.start()
        arena.wait_for(_SOCKET, log="pinnaced.log")
        self._world.ok("images", "import", self._world.archive)
        self.parent = self._world.first_column("snapshots", "ls")[0]

    def client(self) -> Patient:
        return Patient(f"/proc/{self.arena.pid}/root{_SOCKET}", self.arena.name)

    def wait_until_it_answers(self) -> None:
        client = self.client()
        client.call(tasks.Tasks.list, tasks.ListTasksRequest())
        client.close()

    @property
    def state(self) -> Path:
        return Path(f"/proc/{self.arena.pid}/root/run/pinnace")

    def processes(self) -> dict[int, str]:
        """Pid and name of everything that lives in the arena, without what is in containers."""
        here = os.readlink(f"/proc/{self.arena.pid}/ns/pid")
        found = {}
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{entry}/ns/pid") == here:
                    found[int(entry)] = Path(f"/proc/{entry}/comm").read_text().strip()
            except OSError:
                continue
        return found

    def shims(self) -> dict[int, str]:
        """Pid of each shim, and the name of its directory."""
        found = {}
        for pid in self.processes():
            try:
                log = os.readlink(f"/proc/{pid}/fd/1")
            except OSError:
                continue
            if log.endswith("/shim.log"):
                found[pid] = Path(log).parent.name
        return found

    def descriptors(self) -> tuple[int, int]:
        """How many the daemon and the keeper have."""
        first, second = (
            len(os.listdir(f"/proc/{service.pid()}/fd")) for service in (self.daemon, self.keeper)
        )
        return first, second

    def mounts(self) -> int:
        return len(Path(f"/proc/{self.arena.pid}/mounts").read_text().splitlines())

    def left(self) -> dict[str, list[str]]:
        """What a clean stack has none of."""
        bundles = self.state / "io.containerd.runtime.v2.task" / self.arena.name
        groups = Path("/sys/fs/cgroup").glob(f"*/{self.arena.name}/*/")
        unified = Path(f"/sys/fs/cgroup/{self.arena.name}").glob("*/")
        found = {
            "tasks": self._world.ok("tasks", "ls", "-q").split(),
            "containers": self._world.ok("containers", "ls", "-q").split(),
            "snapshots": [name for name in self._world.first_column("snapshots", "ls") if name.startswith("c")],
            "bundles": remaining(bundles),
            "states": remaining(self.state / "s"),
            "shims": [f"{pid} {name}" for pid, name in self.shims().items()],
            "cgroups": [str(path) for path in (*groups, *unified)],
        }  # fmt: skip
        return {what: names for what, names in found.items() if names}


@pytest.fixture
def stack() -> Iterator[Stack]:
    with Arena() as arena:
        yield Stack(arena)


class Killer:
    """Kills one at random, and knows which shims it has ended."""

    def __init__(self, stack: Stack, spared: set[str]) -> None:
        self._stack = stack
        self._spared = spared
        self.shims: set[str] = set()
        self.counts = {"daemon": 0, "keeper": 0, "shim": 0}

    def kill(self) -> None:
        (what,) = random.choices(("daemon", "keeper", "shim"), (4, 2, 4))
        if what == "shim" and self._kill_shim():
            self.counts["shim"] += 1
        elif what == "keeper":
            self._stack.keeper.kill()
            self.counts["keeper"] += 1
        else:
            if random.random() < _ANSWERED:
                self._stack.wait_until_it_answers()
            self._stack.daemon.kill()
            self.counts["daemon"] += 1

    def _kill_shim(self) -> bool:
        shims = [item for item in self._stack.shims().items() if item[1] not in self._spared]
        if not shims:
            return False
        pid, name = random.choice(shims)
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        try:
            # It may be the shim of another container by now: what it is, is certain once it stands still.
            signal.pidfd_send_signal(handle, signal.SIGSTOP)
            until(lambda: _state(pid) in "TZ", "a shim stands still")
            is_same = self._stack.shims().get(pid) == name
            if is_same:
                self.shims.add(name)
            signal.pidfd_send_signal(handle, signal.SIGKILL if is_same else signal.SIGCONT)
            return is_same
        except ProcessLookupError:
            pass  # it had just ended
        finally:
            os.close(handle)
        return True


def _state(pid: int) -> str:
    """The letter of proc(5) for what a process does; Z when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_nothing_is_lost_wrong_or_left(stack: Stack) -> None:
    seed = random.randrange(1 << 30)
    random.seed(seed)
    client = stack.client()
    fresh = stack.descriptors()
    steady = [Cycle(client, stack.arena, f"c-steady{number}", stack.parent) for number in range(_STEADY)]  # fmt: skip
    for cycle in steady:
        cycle.make(["sleep", "100000"])
        cycle.start()
    killer = Killer(stack, {shim_name(stack.arena.name, cycle.id) for cycle in steady})
    mounts = stack.mounts()
    load = Load(stack.client, stack.arena, stack.parent, killer.shims)
    load.start(CLIENTS)
    for _ in range(KILLS):
        time.sleep(random.uniform(0, 2 * _PAUSE_SECONDS))
        killer.kill()
        if load.problems:
            break
    load.stop()
    said = f"seed {seed}, {killer.counts}, {load.right} right"
    assert not load.problems, f"{said}: {load.problems}"
    assert load.right >= KILLS // 10, f"hardly anything ran: {said}"
    assert [cycle.status() for cycle in steady] == [STATUS_RUNNING] * _STEADY, said
    assert stack.mounts() == mounts, said
    for cycle in steady:
        cycle.kill()
        assert cycle.wait() == KILLED
        assert cycle.remove() in (KILLED, None)
        cycle.close()
    client.close()
    until(lambda: not stack.left(), f"everything is gone ({said}): {stack.left()}")
    # Shims let go of their roots after they have answered, which flushes the disk, and then wait for another container.
    until(lambda: has_at_most(stack.descriptors(), fresh), "as few descriptors as at the start")


def has_at_most(found: tuple[int, int], allowed: tuple[int, int]) -> bool:
    """Whether daemon and keeper have as few descriptors, but for what the daemon keeps open of its database."""
    return found[0] <= allowed[0] + CONNECTIONS and found[1] <= allowed[1]
