"""Debian's containerd with ``BinaryName`` set to our runc."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.runc.dropin.engine import IMAGE, Engine, environment, packages
from toolkit.arena import Arena

pytestmark = [pytest.mark.root, pytest.mark.peer]
_ADDRESS = "/run/peer/peer.sock"
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


@pytest.fixture(scope="module")
def ctr(arena: Arena) -> Engine:
    root = packages("bookworm", "containerd")
    config = arena.scratch / "config.toml"
    config.write_text(_CONFIG.format(root=arena.scratch / "root"))
    variables = environment(arena, root)
    words: list[str | Path] = [root / "usr/bin/containerd", "--config", config]
    arena.start(words, log="containerd.log", env=variables)
    arena.wait_for(_ADDRESS, log="containerd.log")
    client = [str(root / "usr/bin/ctr"), "--address", _ADDRESS, "--namespace", arena.name]
    made = Engine(arena, client, variables)
    made.ok("image", "import", str(arena.scratch / "image.tar"))
    return made


@pytest.fixture
def runc(release: Path) -> list[str]:
    return ["--runc-binary", str(release / "bin/runc")]


def test_run_to_the_end(ctr: Engine, runc: list[str]) -> None:
    done = ctr.run("run", "--rm", *runc, IMAGE, "c1", "sh", "-c", "echo out; echo err >&2; exit 5")
    assert (done.returncode, done.stdout, done.stderr) == (5, "out\n", "err\n")


def test_a_life(ctr: Engine, runc: list[str]) -> None:
    ctr.ok("run", "--detach", "--null-io", *runc, IMAGE, "c2", "sleep", "100")
    assert "c2" in ctr.ok("task", "ls")
    shown = ctr.run("task", "exec", "--exec-id", "e1", "c2", "sh", "-c", "echo inside; exit 3")
    assert (shown.returncode, shown.stdout) == (3, "inside\n")
    assert len(ctr.ok("task", "ps", "c2").splitlines()) == 2
    ctr.ok("task", "pause", "c2")
    assert "PAUSED" in ctr.ok("task", "ls")
    ctr.ok("task", "resume", "c2")
    assert "memory" in ctr.ok("task", "metrics", "c2")
    ctr.ok("task", "kill", "--signal", "KILL", "c2")
    assert "exit code 137" in ctr.run("task", "rm", "c2").stderr
    ctr.ok("container", "rm", "c2")
    assert ctr.ok("task", "ls", "-q") == ""


def test_with_a_terminal(ctr: Engine, runc: list[str]) -> None:
    """Through the console socket of containerd's shim."""
    words = [
        "script",
        "-qec",
        " ".join([*ctr.words("run", "--rm", "-t", *runc, IMAGE, "c3", "tty")]),
    ]
    done = ctr.arena.run([*words, "/dev/null"], env=ctr.environment)
    assert done.returncode == 0
    assert "/dev/pts/0" in done.stdout


def test_why_it_failed_is_told(ctr: Engine, runc: list[str]) -> None:
    """containerd's shim reads it from the log in JSON that it asks for."""
    done = ctr.run("run", "--rm", *runc, IMAGE, "c4", "nosuch")
    assert done.returncode == 1
    assert 'exec: "nosuch": executable file not found in $PATH' in done.stderr
