"""No process or no descriptor to be had for a while: who asks meanwhile is told so, and everything goes on afterwards."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinnace import errors
from pinnace.api.httpd import Answer, Httpd
from pinnace.api.schema import eventservice as wire
from pinnace.api.schema.wellknown import Empty
from pinnace.api.ttrpcclient import TtrpcClient
from pinnace.api.ttrpcserver import TtrpcServer
from pinnace.daemon.shims import Connection, KeeperShims
from pinnace.linux.cgroups.base import Cgroup
from tests import staged
from tests.conformance.ctr.daemons import IMAGE
from tests.conformance.daemon.world import ADDRESS, World
from tests.conformance.shim.conftest import image as image
from tests.conformance.shim.container import Container
from tests.faults.shortages import (
    group_of,
    limited_descriptors,
    no_more_descriptors,
    no_more_processes,
    share_of_processor,
    until,
)
from tests.unit.keeper.test_keeper import ENVIRONMENT, Command, answer, ask
from tests.unit.keeper.test_shims import Shim
from toolkit.arena import Arena
from toolkit.paths import PROJECT

pytestmark = pytest.mark.root
_EXHAUSTED = errors.ResourceExhausted.grpc_status
_BUSY = 0.3
"""The share of a processor that only a loop that spins comes to."""


class Keeper:
    """A keeper that runs the commands of tests/unit/keeper, in a control group of its own."""

    def __init__(self, place: Path, group: Cgroup, process: subprocess.Popen[str]) -> None:
        self.place = place
        self.address = place / "keeper.sock"
        self.group = group
        self.process = process

    def runs_a_command(self, name: str) -> bool:
        (self.place / name).mkdir()
        return Command(self.address, self.place / name, "cat").end() == {"exit": 0}


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    address = tmp_path / "keeper.sock"
    words = ["--address", str(address), "--cli", "tests.unit.keeper.commands:main", "--preload", "pinnace.keeper.shim"]  # fmt: skip
    with subprocess.Popen([sys.executable, "-m", "pinnace.keeper", *words], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:  # fmt: skip
        until(address.exists, "the keeper listens")
        with group_of(process.pid) as group:
            found = Keeper(tmp_path, group, process)
            yield found
            assert process.poll() is None, process.stderr and process.stderr.read()


def _refusal(keeper: Keeper, request: dict[str, object], fds: list[int]) -> dict[str, object]:
    with ask(keeper.address, request, fds) as connection:
        said = answer(connection)
    assert "error" in said, said
    error: dict[str, object] = said["error"]
    return error


def _command_refused(keeper: Keeper) -> dict[str, object]:
    fds = [os.open(os.devnull, os.O_RDWR) for _ in range(3)]
    fds.append(os.open("/", os.O_PATH))
    try:
        return _refusal(keeper, {"op": "cli", "argv": ["ctr", "cat"], "env": [], "umask": 0}, fds)
    finally:
        for fd in fds:
            os.close(fd)


def test_a_command_that_cannot_be_forked_is_refused(keeper: Keeper) -> None:
    with no_more_processes(keeper.group):
        for _ in range(3):
            said = _command_refused(keeper)
            assert said["status"] == _EXHAUSTED
            assert "ctr" in str(said["message"])
            assert "too many processes" in str(said["message"])
    assert keeper.runs_a_command("after")


def test_a_shim_that_cannot_be_forked_is_refused(keeper: Keeper) -> None:
    with no_more_processes(keeper.group):
        said = Shim(keeper.place, "one").said["error"]
        assert said["status"] == _EXHAUSTED
        assert "too many processes" in said["message"]
    assert Shim(keeper.place, "two").call("shutdown") == {"id": 1, "result": {}}


def test_a_shim_that_died_when_it_was_asked_and_cannot_be_replaced(keeper: Keeper) -> None:
    first = Shim(keeper.place, "first")
    first.end()
    os.kill(first.pid, signal.SIGSTOP)
    with no_more_processes(keeper.group):
        os.kill(first.pid, signal.SIGKILL)
        assert Shim(keeper.place, "second").said["error"]["status"] == _EXHAUSTED
    assert Shim(keeper.place, "third").call("shutdown") == {"id": 1, "result": {}}


def test_a_daemon_starts_the_shim_itself_then(keeper: Keeper) -> None:
    """Its own control group may have room."""
    shims = KeeperShims(str(keeper.address))
    place = keeper.place / "cold"
    with no_more_processes(keeper.group):
        address = shims.start("n", "cold", str(keeper.place), str(place))
    shim = Connection(address, lambda _: None, lambda: None)
    assert shim.call("state") == {"processes": []}
    shim.call("shutdown")
    shim.close()


def test_a_keeper_without_descriptors_waits(keeper: Keeper) -> None:
    with no_more_descriptors(keeper.process.pid, str(keeper.address)):
        assert share_of_processor(keeper.process.pid) < _BUSY
    assert keeper.runs_a_command("after")


@pytest.fixture(params=["awake", "dozing"])
def container(request: pytest.FixtureRequest, image: Path, tmp_path: Path) -> Iterator[Container]:
    """One that sleeps, its shim with a daemon's connection, dozing or not."""
    lib = staged.release(tmp_path / "release") if request.param == "dozing" else ENVIRONMENT["PYTHONPATH"]  # fmt: skip
    address = tmp_path / "k.sock"
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT}:{lib}", "PINNACE_DOZE_SECONDS": "0.02"}
    words = [sys.executable, "-m", "pinnace.keeper", "--address", str(address)]
    with subprocess.Popen([*words, "--preload", "pinnace.keeper.shim"], env=environment) as keeper:
        until(address.exists, "the keeper listens")
        made = Container(KeeperShims(str(address)), image, tmp_path / "box", "sleep", "100")
        made.shim_id = made.shim_pid()
        made.start()
        if request.param == "dozing":
            until(lambda: "doze" in os.readlink(f"/proc/{made.shim_id}/exe"), "it dozes")
        try:
            yield made
            made.shim.call("kill", exec_id="", signal=9, all=False)
            assert made.wait() == 137
            made.finish()
        finally:
            Container.remove_all()
            keeper.terminate()


def test_a_shim_without_descriptors_waits(container: Container) -> None:
    address = str(container.state / "shim.sock")
    with no_more_descriptors(container.shim_id, address):
        other = Connection(address, lambda _: None, lambda: None)
        assert share_of_processor(container.shim_id) < _BUSY
    assert other.call("state", exec_id=None)["processes"][0]["status"] == "running"
    other.close()


@pytest.fixture
def world() -> Iterator[World]:
    """A daemon of its own, with a keeper and the image of busybox."""
    with Arena() as arena:
        found = World(arena)
        found.start_keeper()
        found.start()
        found.ok("images", "import", found.archive)
        yield found


@pytest.mark.peer
def test_a_daemon_without_threads_or_descriptors_goes_on_when_there_are_some(world: World) -> None:
    pid = world.pid()
    with group_of(pid) as group:
        with no_more_processes(group):
            world.arena.run(["pkill", "-HUP", "-f", "pinnaced --config"])
            until(lambda: "SIGHUP has to wait" in world.log(), "the signal is seen")
        until(lambda: "read the configuration again" in world.log(), "it has read it")
        assert world.ctr("version").returncode == 0
        with no_more_descriptors(pid, f"/proc/{world.arena.pid}/root{ADDRESS}"):
            asking = [world.arena.start(world.words("version"), log=f"asking{n}.log") for n in range(2)]  # fmt: skip
            until(lambda: "cannot accept connections" in world.log(), "it is short of descriptors")
            assert share_of_processor(pid) < _BUSY
        assert [each.wait(20) for each in asking] == [0, 0]
        assert world.stop("TERM") == 0


@pytest.mark.peer
def test_a_daemon_that_cannot_ask_a_shim_does_not_take_it_for_dead(world: World) -> None:
    for name in ("one", "two"):
        world.ok("run", "-d", IMAGE, name, "sleep", "1000")
    running = world.ok("task", "ls")
    assert world.stop("TERM") == 0
    said = []
    for descriptors in range(8, 40):
        limited = ["timeout", "10", "sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh"]
        done = world.arena.run(
            [*limited, *world.daemon_words()], env=world.environment(), timeout=60
        )
        if done.returncode == 124:
            break  # these are enough
        said.append(done.stderr)
    assert any("ulimit -n" in each for each in said), said
    world.start()
    assert world.ok("task", "ls") == running
    for name in ("one", "two"):
        world.ok("task", "rm", "--force", name)


class _Handler:
    def forward(self, request: wire.ForwardRequest) -> Empty:
        return Empty()


class _Said:
    """What a server logs."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, line: str) -> None:
        self.lines.append(line)

    def has(self, words: str) -> bool:
        return any(words in line for line in self.lines)


def _listener(place: Path) -> tuple[socket.socket, str]:
    path = str(place / "s")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    return listener, path


def _connect_without_descriptors(said: _Said, clients: list[socket.socket], path: str) -> None:
    """The first has the descriptor that accept(2) took before it waited, the second none."""
    with limited_descriptors(os.getpid(), 0):
        for client in clients:
            client.settimeout(20)
            client.connect(path)
        until(lambda: said.has("Too many open files"), "the server is short of descriptors")


def test_the_server_for_events_waits_for_descriptors(tmp_path: Path) -> None:
    said, (listener, path) = _Said(), _listener(tmp_path)
    services = {"containerd.services.events.ttrpc.v1.Events": lambda: (wire.ShimEvents, _Handler())}
    server = TtrpcServer(listener, services, said)
    server.start()
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
        _connect_without_descriptors(said, [one, two], path)
        with TtrpcClient(path) as client:
            client.call(wire.ShimEvents.forward, wire.ForwardRequest(envelope=wire.Envelope()))
    server.stop()


def test_the_page_for_prometheus_waits_for_descriptors(tmp_path: Path) -> None:
    said, (listener, path) = _Said(), _listener(tmp_path)
    server = Httpd(listener, {"/": lambda _: Answer("here\n")}, said)
    server.start()
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
        _connect_without_descriptors(said, [one, two], path)
        two.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert two.recv(4096).endswith(b"here\n")
    server.stop()
