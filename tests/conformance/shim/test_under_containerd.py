"""Our shim under Debian's containerd of three releases, started through a keeper, and cold."""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.ctr.daemons import IMAGE, busybox, environment
from tests.conformance.daemon.test_tasks import until
from tests.conformance.daemon.world import CTR_RELEASES, peer
from toolkit.arena import Arena
from toolkit.paths import RUNTIME

pytestmark = [pytest.mark.root, pytest.mark.peer]
_ADDRESS = "/run/peer/peer.sock"
_KEEPER = "/run/pinnace/keeper.sock"
_CONFIG = """\
version = 2
root = "{root}"
state = "/run/peer"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "/run/peer/peer.sock"
[ttrpc]
address = "/run/peer/peer.sock.ttrpc"
"""
_RUNTIME = "io.containerd.pinnace.v2"
_NAME = "containerd-shim-pinnace-v2"


SERIES = os.environ.get("PINNACE_SHIM_SERIES", "1.7").split()
"""containerd's release series of all tests but the walk, which is done with each."""
few = pytest.mark.parametrize("shared", SERIES, indirect=True)


class Peer:
    """Debian's containerd of a series in an arena, with our shim on its PATH."""

    def __init__(self, arena: Arena, series: str) -> None:
        self.arena = arena
        self.programs = peer(series) / "usr/bin"
        self.tools = arena.scratch / "bin"
        self.tools.mkdir()
        words = f"{shlex.quote(sys.executable)} -m pinnace.cli.main {_NAME}"
        (self.tools / _NAME).write_text(f'#!/bin/sh\nPYTHONPATH={RUNTIME} exec {words} "$@"\n')
        (self.tools / _NAME).chmod(0o755)
        self._config = arena.scratch / "peer.toml"
        self._config.write_text(_CONFIG.format(root=arena.scratch / "root"))

    def start_keeper(self) -> None:
        words = [sys.executable, "-m", "pinnace.keeper", "--address", _KEEPER]
        self.arena.start(words, log="keeper.log", env=environment())
        self.arena.wait_for(_KEEPER, log="keeper.log")

    def start(self) -> None:
        path = f"{self.tools}:{self.programs}:{os.environ['PATH']}"
        words: list[str | Path] = [self.programs / "containerd", "--config", self._config]
        self.arena.start(words, log="peer.log", env={**os.environ, "PATH": path})
        self.arena.wait_for(_ADDRESS, log="peer.log")
        deadline = time.monotonic() + 20
        while self.ctr("version").returncode:
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def log(self) -> str:
        return (self.arena.scratch / "peer.log").read_text()[-3000:]

    def kill(self) -> None:
        self.arena.run(["pkill", "-KILL", "-f", f"containerd --config {self._config}"])

    def words(self, *words: str | Path) -> list[str]:
        common = ["--address", _ADDRESS, "--namespace", self.arena.name]
        return [str(self.programs / "ctr"), *common, *map(str, words)]

    def ctr(self, *words: str | Path, **options: Any) -> Any:
        return self.arena.run(self.words(*words), **{"timeout": 30, **options})

    def ok(self, *words: str | Path, **options: Any) -> str:
        done = self.ctr(*words, **options)
        assert done.returncode == 0, f"{words}: {done.stderr}\n{self.log()}"
        return str(done.stdout)

    def run(self, name: str, *words: str, flags: tuple[str, ...] = ("-d",)) -> str:
        return self.ok("run", *flags, "--runtime", _RUNTIME, IMAGE, name, *words)

    def status(self, name: str) -> str:
        found = re.search(rf"^{name} +\d+ +(\w+)", self.ok("tasks", "ls"), re.M)
        return found[1] if found else ""

    def pid(self, name: str) -> int:
        found = re.search(rf"^{name} +(\d+)", self.ok("tasks", "ls"), re.M)
        assert found is not None
        return int(found[1])

    def runs(self, pid: int) -> bool:
        state = self.arena.run(["ps", "-o", "state=", "-p", str(pid)]).stdout.strip()
        return state not in ("", "Z")

    def shims(self) -> list[int]:
        """Our shims that run."""
        rows = self.arena.run(["ps", "-eo", "pid=,state=,comm="]).stdout.splitlines()
        found = [row.split() for row in rows]
        return [int(pid) for pid, state, name in found if name == "pinnace-shim" and state != "Z"]

    def removed(self, name: str) -> str:
        done = self.ctr("tasks", "rm", name)
        return f"{done.returncode} {done.stderr.rpartition('code')[2]}"


@contextmanager
def containerd(series: str) -> Iterator[Peer]:
    with Arena() as arena:
        found = Peer(arena, series)
        found.start()
        archive = arena.scratch / "busybox.tar"
        archive.write_bytes(busybox())
        found.ok("images", "import", archive)
        yield found


@pytest.fixture(scope="module", params=CTR_RELEASES)
def shared(request: pytest.FixtureRequest) -> Iterator[Peer]:
    with containerd(request.param) as found:
        found.start_keeper()
        yield found


@pytest.fixture
def their(shared: Peer) -> Iterator[Peer]:
    """containerd of each series; nothing is left running, mounted or listening."""
    yield shared
    clean(shared)


def clean(their: Peer) -> None:
    for name in their.ok("tasks", "ls", "-q").split():
        their.ctr("tasks", "rm", "--force", name)
    for name in their.ok("containers", "ls", "-q").split():
        their.ctr("containers", "rm", name)
    assert their.ok("tasks", "ls", "-q") == ""
    until(lambda: their.shims() == [])
    inside = Path(f"/proc/{their.arena.pid}/root/run")
    assert "/rootfs" not in their.arena.run(["cat", "/proc/self/mounts"]).stdout
    assert not list(inside.glob("peer/io.containerd.runtime.v2.task/*/*"))
    assert not list(inside.glob("containerd/s/*"))


def walk(their: Peer) -> None:
    """Output, exit statuses, exec, signals, pause, metrics, events."""
    sent = "line\n" * 50_000  # more than a FIFO takes: ctr forgets CloseIO when all went at once
    words = ("run", "--rm", "--runtime", _RUNTIME, IMAGE, "t1", "sh", "-c")
    done = their.ctr(*words, "cat; echo end >&2; exit 7", input=sent)
    assert (done.returncode, done.stdout, done.stderr) == (7, sent, "end\n")
    their.run("web", "sleep", "1000")
    assert len(their.shims()) == 1
    assert their.status("web") == "RUNNING"
    done = their.ctr("tasks", "exec", "--exec-id", "e1", "web", "sh", "-c", "echo out; exit 5")
    assert (done.returncode, done.stdout) == (5, "out\n")
    their.ok("tasks", "pause", "web")
    assert their.status("web") == "PAUSED"
    their.ok("tasks", "resume", "web")
    assert their.status("web") == "RUNNING"
    assert str(their.pid("web")) in their.ok("tasks", "ps", "web")
    assert re.search(r"pids.current +1|memory", their.ok("tasks", "metrics", "web"))
    their.ok("tasks", "kill", "-s", "KILL", "web")
    until(lambda: their.status("web") == "STOPPED")
    assert "137" in their.removed("web")


def test_the_walk(their: Peer) -> None:
    listener = their.arena.start(their.words("events"), log="events")
    until(lambda: _marked(their))
    walk(their)
    until(lambda: "/tasks/delete" in _events(their))
    their.arena.run(["pkill", "-f", " events$"])
    listener.wait(10)
    told = re.findall(r"/tasks/([a-z-]+)", _events(their))
    assert [word for word in told if word in ("create", "start", "exit", "delete")][:4] == [
        "create", "start", "exit", "delete",
    ]  # fmt: skip
    assert {"exec-added", "exec-started", "paused", "resumed"} <= set(told)


def _marked(their: Peer) -> bool:
    """Whether what happens now is heard."""
    their.ok("namespaces", "label", "default", "heard=yes")
    return "/namespaces/update" in _events(their)


def _events(their: Peer) -> str:
    return (their.arena.scratch / "events").read_text()


@few
def test_a_terminal(their: Peer) -> None:
    script = 'until [ -n "$(stty size 2>&-)" ]; do sleep 0.1; done; stty size; exit 3'
    words = ("run", "-t", "--rm", "--runtime", _RUNTIME, IMAGE, "t1", "sh", "-c", script)
    sized = f"stty rows 33 cols 77; {shlex.join(their.words(*words))}"
    done = their.arena.run(["script", "-qec", sized, "/dev/null"], input="")
    assert done.returncode == 3, done.stdout
    assert "33 77" in done.stdout


@few
def test_a_program_that_is_not_there_leaves_nothing(their: Peer) -> None:
    done = their.ctr("run", "--rm", "--runtime", _RUNTIME, IMAGE, "t1", "nope")
    assert done.returncode == 1
    assert 'exec: "nope": executable file not found in $PATH' in done.stderr


@few
def test_a_restart_in_the_middle(their: Peer) -> None:
    """What ends while no containerd is there is known afterwards; the rest goes on."""
    their.run("web", "sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.1; done")
    their.run("stays", "sleep", "1000")
    pid = their.pid("web")
    their.kill()
    their.arena.run(["kill", "-TERM", str(pid)])
    until(lambda: not their.runs(pid))
    their.start()
    until(lambda: their.status("web") == "STOPPED")
    assert their.status("stays") == "RUNNING"
    assert their.ok("tasks", "exec", "--exec-id", "e1", "stays", "echo", "hi") == "hi\n"
    assert "9" in their.removed("web")
    their.ok("tasks", "kill", "-s", "KILL", "stays")
    until(lambda: their.status("stays") == "STOPPED")


@few
def test_a_shim_that_is_killed(their: Peer) -> None:
    """containerd has the program delete what is left."""
    their.run("web", "sleep", "1000")
    pid = their.pid("web")
    for shim in their.shims():
        their.arena.run(["kill", "-KILL", str(shim)])
    until(lambda: not their.runs(pid))
    until(lambda: their.status("web") in ("STOPPED", ""))


def test_without_a_keeper() -> None:
    with containerd("1.7") as found:
        walk(found)
        clean(found)
