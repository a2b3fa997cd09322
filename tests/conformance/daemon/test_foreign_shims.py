"""Our daemon with containerd's own shims: Debian's ``containerd-shim-runc-v2`` of three releases."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinnace.api.schema.events import TaskOOM
from pinnace.api.schema.wellknown import Any
from tests.conformance.ctr.daemons import IMAGE
from tests.conformance.daemon.test_tasks import until
from tests.conformance.daemon.world import ADDRESS, CTR_RELEASES, World, peer
from toolkit.arch import Arch
from toolkit.arena import Arena
from toolkit.debian import Archive
from toolkit.paths import RUNTIME

pytestmark = [pytest.mark.root, pytest.mark.peer]
SERIES = os.environ.get("PINNACE_SHIM_SERIES", "1.7").split()
"""containerd's release series of all tests but the walk, which is done with each."""
few = pytest.mark.parametrize("foreign", SERIES, indirect=True)
_PROGRAM = "usr/bin/containerd-shim-runc-v2"


class Foreign(World):
    """A daemon whose PATH has Debian's runc; ``shim`` is the program of the chosen series."""

    shim = ""

    def environment(self) -> dict[str, str]:
        debian = Arch.from_machine(os.uname().machine).facts.debian
        runc = Archive("bookworm", debian).unpack(["runc"], dependencies=False)
        return {**super().environment(), "PATH": f"{runc}/usr/sbin:{os.environ['PATH']}"}

    def run(self, name: str, *words: str, flags: tuple[str, ...] = ("-d",)) -> str:
        return self.ok("run", *flags, "--runtime", self.shim, IMAGE, name, *words)

    def shims(self) -> list[int]:
        """The shims that run, as the arena numbers them."""
        found = self.arena.run(["pgrep", "-f", f"^{self.shim} .*-id"]).stdout
        return [int(word) for word in found.split()]

    def configure(self, text: str) -> None:
        """Add to the configuration of a running daemon."""
        before = self._config.read_text().partition("# more\n")[0]
        self._config.write_text(f"{before}# more\n{text}")
        self.reload()

    def runs(self, pid: int) -> bool:
        """Whether a process is there, and no zombie: an arena's first process waits for nobody."""
        state = self.arena.run(["ps", "-o", "state=", "-p", str(pid)]).stdout.strip()
        return state not in ("", "Z")

    def removed(self, name: str) -> str:
        """What ctr says of the exit status: 1.6 by its own, the others in words."""
        done = self.ctr("tasks", "rm", name)
        return f"{done.returncode} {done.stderr.rpartition('code')[2]}"

    def pid(self, name: str) -> int:
        found = re.search(rf"^{name} +(\d+)", self.ok("tasks", "ls"), re.M)
        assert found is not None
        return int(found[1])


@pytest.fixture(scope="module")
def daemon() -> Iterator[Foreign]:
    with Arena() as arena:
        world = Foreign(arena)
        world.start_keeper()
        world.start()
        world.ok("images", "import", world.archive)
        yield world


@pytest.fixture(params=CTR_RELEASES)
def foreign(request: pytest.FixtureRequest, daemon: Foreign) -> Iterator[Foreign]:
    """The daemon with the shim and the ctr of a series; nothing is left running, or mounted, or listening."""
    daemon.series = request.param
    daemon.shim = str(peer(request.param) / _PROGRAM)
    yield daemon
    for name in daemon.ok("tasks", "ls", "-q").split():
        daemon.ctr("tasks", "rm", "--force", name)
    for name in daemon.ok("containers", "ls", "-q").split():
        daemon.ctr("containers", "rm", name)
    assert daemon.ok("tasks", "ls", "-q") == ""
    until(lambda: daemon.shims() == [])
    inside = Path(f"/proc/{daemon.arena.pid}/root/run")
    assert "/rootfs" not in daemon.arena.run(["cat", "/proc/self/mounts"]).stdout
    assert not list(inside.glob("pinnace/io.containerd.runtime.v2.task/*/*"))
    assert not list(inside.glob("containerd/s/*"))


def test_the_walk(foreign: Foreign) -> None:
    """Output, exit statuses, exec, signals, pause, metrics, update."""
    sent = "line\n" * 50_000  # more than a FIFO takes: ctr forgets CloseIO when all went at once
    words = ("run", "--rm", "--runtime", foreign.shim, IMAGE, "t1", "sh", "-c")
    done = foreign.ctr(*words, "cat; echo end >&2; exit 7", input=sent, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (7, sent, "end\n")
    foreign.run("web", "sleep", "1000")
    assert len(foreign.shims()) == 1
    assert foreign.status("web") == "RUNNING"
    done = foreign.ctr("tasks", "exec", "--exec-id", "e1", "web", "sh", "-c", "echo out; exit 5")
    assert (done.returncode, done.stdout) == (5, "out\n")
    foreign.ok("tasks", "pause", "web")
    assert foreign.status("web") == "PAUSED"
    foreign.ok("tasks", "resume", "web")
    assert foreign.status("web") == "RUNNING"
    assert str(foreign.pid("web")) in foreign.ok("tasks", "ps", "web")
    assert re.search(r"pids.current +1|memory", foreign.ok("tasks", "metrics", "web"))
    foreign.ok("tasks", "kill", "-s", "TERM", "-a", "web")
    foreign.ok("tasks", "kill", "-s", "KILL", "web")
    until(lambda: foreign.status("web") == "STOPPED")
    assert "137" in foreign.removed("web")


@few
def test_a_terminal(foreign: Foreign) -> None:
    words = ("run", "-t", "--rm", "--runtime", foreign.shim, IMAGE, "t1")
    # Its size comes after its start.
    script = 'until [ -n "$(stty size 2>&-)" ]; do sleep 0.1; done; stty size; exit 3'
    command = shlex.join(foreign.words(*words, "sh", "-c", script))
    sized = f"stty rows 33 cols 77; {command}"
    done = foreign.arena.run(["script", "-qec", sized, "/dev/null"], input="")
    assert done.returncode == 3, done.stdout
    assert "33 77" in done.stdout


@few
def test_a_restart_in_the_middle(foreign: Foreign) -> None:
    """What ends while no daemon is there is known afterwards; the rest goes on."""
    foreign.run("web", "sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.1; done")
    foreign.run("stays", "sleep", "1000")
    pid = foreign.pid("web")
    foreign.stop("KILL")
    foreign.arena.run(["kill", "-TERM", str(pid)])
    until(lambda: not foreign.runs(pid))
    foreign.start()
    assert foreign.status("web") == "STOPPED"
    assert foreign.status("stays") == "RUNNING"
    assert foreign.ok("tasks", "exec", "--exec-id", "e1", "stays", "echo", "hi") == "hi\n"
    assert "9" in foreign.removed("web")
    foreign.ok("tasks", "kill", "-s", "KILL", "stays")
    until(lambda: foreign.status("stays") == "STOPPED")


@few
def test_a_shim_that_is_killed(foreign: Foreign) -> None:
    """Its container is ended and cleaned, also when no daemon was there to see it."""
    foreign.run("web", "sleep", "1000")
    pid = foreign.pid("web")
    for shim in foreign.shims():
        foreign.arena.run(["kill", "-KILL", str(shim)])
    until(lambda: foreign.status("web") == "STOPPED")
    assert not foreign.runs(pid)
    assert "137" in foreign.removed("web")
    foreign.run("next", "sleep", "1000")
    foreign.stop("KILL")
    for shim in foreign.shims():
        foreign.arena.run(["kill", "-KILL", str(shim)])
    foreign.start()
    until(lambda: foreign.status("next") == "STOPPED")


@pytest.fixture(scope="module")
def our_runc(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Our own runc, as a command."""
    path = tmp_path_factory.mktemp("runc") / "runc"
    words = f"{shlex.quote(sys.executable)} -m pinnace.cli.main runc"
    path.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(RUNTIME))} exec {words} "$@"\n')
    path.chmod(0o755)
    return str(path)


@few
def test_their_shim_with_our_runc(foreign: Foreign, our_runc: str) -> None:
    """The configuration gives the default runtime to containerd's shim, and a client names our runc."""
    foreign.configure(
        f"""[plugins."io.pinnace.runtimes"]\n"io.containerd.runc.v2" = "{foreign.shim}"\n"""
    )
    foreign.ok("run", "-d", "--runc-binary", our_runc, IMAGE, "web", "sleep", "1000")
    assert len(foreign.shims()) == 1
    assert foreign.ok("tasks", "exec", "--exec-id", "e1", "web", "echo", "hi") == "hi\n"
    foreign.ok("tasks", "pause", "web")
    foreign.ok("tasks", "resume", "web")
    assert str(foreign.pid("web")) in foreign.ok("tasks", "ps", "web")
    foreign.ok("tasks", "kill", "-s", "KILL", "web")
    until(lambda: foreign.status("web") == "STOPPED")
    assert "137" in foreign.removed("web")
    foreign.configure("")
    foreign.ok("run", "-d", IMAGE, "ours", "sleep", "1000")
    assert foreign.shims() == []


@few
def test_a_shim_of_several(foreign: Foreign) -> None:
    """runc.v2 has one shim for the containers of a group; the others stay when one is deleted."""
    group = ("-d", "--annotation", "io.containerd.runc.v2.group=pod")
    foreign.run("web", "sleep", "1000", flags=group)
    foreign.run("beside", "sleep", "1000", flags=group)
    assert len(foreign.shims()) == 1
    foreign.ok("tasks", "kill", "-s", "KILL", "web")
    until(lambda: foreign.status("web") == "STOPPED")
    assert "137" in foreign.removed("web")
    assert foreign.status("beside") == "RUNNING"
    assert foreign.ok("tasks", "exec", "--exec-id", "e1", "beside", "echo", "hi") == "hi\n"
    foreign.stop("KILL")
    foreign.start()
    assert foreign.status("beside") == "RUNNING"
    foreign.run("again", "sleep", "1000", flags=group)
    for shim in foreign.shims():
        foreign.arena.run(["kill", "-KILL", str(shim)])
    until(lambda: [foreign.status(name) for name in ("beside", "again")] == ["STOPPED"] * 2)


@few
def test_attaching(foreign: Foreign) -> None:
    """Who went away comes back, and who runs it hears the rest."""
    script = "while read line; do echo got $line; [ $line != end ] || exit 4; done"
    words = ("run", "--runtime", foreign.shim, IMAGE, "t1", "sh", "-c", script)
    first = foreign.arena.start(foreign.words(*words), log="first")
    until(lambda: foreign.status("t1") == "RUNNING")
    first.kill()
    first.wait()
    foreign.arena.run(["pkill", "-KILL", "-f", f"run --runtime {foreign.shim}"])
    done = foreign.ctr("tasks", "attach", "t1", input="one\nend\n")
    assert (done.returncode, done.stdout) == (4, "got one\ngot end\n")


@few
def test_an_event_that_is_published(foreign: Foreign) -> None:
    """As a shim does that runs its ``-publish-binary``."""
    listener = foreign.arena.start(foreign.words("events"), log="events")
    words = [sys.executable, "-m", "pinnace.cli.main", "pinnaced", "--address", ADDRESS, "publish"]
    event = Any.pack(TaskOOM(container_id="c9")).encode()
    publish = [*words, "--namespace", foreign.namespace, "--topic", "/tasks/oom"]

    def heard() -> bool:
        done = foreign.arena.run(publish, input=event, text=False, env=foreign.environment())
        assert done.returncode == 0, done.stderr
        return '{"container_id":"c9"}' in (foreign.arena.scratch / "events").read_text()

    until(heard)
    foreign.arena.run(["pkill", "-f", " events$"])
    listener.wait(10)


@few
def test_a_shim_that_is_not_there(foreign: Foreign) -> None:
    for name, words in (
        ("io.containerd.nope.v1", 'runtime "io.containerd.nope.v1" binary not installed'),
        ("/nonexistent/shim", 'runtime "/nonexistent/shim" binary not installed'),
        ("nope", 'invalid runtime name "nope"'),
    ):
        done = foreign.ctr("run", "--rm", "--runtime", name, IMAGE, "t1", "true")
        assert done.returncode == 1
        assert words in done.stderr
        foreign.ctr("containers", "rm", "t1")
