"""Debian's podman, with conmon, and our runc as its ``--runtime``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.runc.dropin.engine import (
    IMAGE,
    Engine,
    environment,
    packages,
    with_libraries,
)
from toolkit.arena import Arena

pytestmark = [pytest.mark.root, pytest.mark.peer]


@pytest.fixture(scope="module")
def podman(arena: Arena, release: Path) -> Iterator[Engine]:
    root = packages("bookworm", "podman", "conmon")
    place = arena.scratch
    _own_etc(arena)
    words = [
        *with_libraries(arena, root), root / "usr/bin/podman", "--runtime", release / "bin/runc", "--conmon", root / "usr/bin/conmon",
        "--root", place / "storage", "--runroot", "/run/podman", "--tmpdir", "/run/podman-tmp",
        "--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=file",
    ]  # fmt: skip
    made = Engine(arena, [str(word) for word in words], environment(arena, root))
    made.ok("load", "--input", str(place / "image.tar"))
    yield made
    made.run("rm", "--all", "--force", "--time=0")


def _own_etc(arena: Arena) -> None:
    """podman wants a policy in /etc, which is the machine's: a layer over it, in the arena alone."""
    for name in ("upper", "work"):
        (arena.scratch / name).mkdir()
    layers = f"lowerdir=/etc,upperdir={arena.scratch}/upper,workdir={arena.scratch}/work"
    done = arena.run(["mount", "-t", "overlay", "-o", layers, "overlay", "/etc"])
    assert done.returncode == 0, done.stderr
    (arena.scratch / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    arena.run(["install", "-D", arena.scratch / "policy.json", "/etc/containers/policy.json"])


def _run(arena: Arena, name: str) -> list[str]:
    parent = f"--cgroup-parent=/{arena.name}"
    return ["run", "--network=none", "--cgroupns=host", parent, "--name", name]


def test_run_to_the_end(podman: Engine) -> None:
    script = "cat /proc/1/comm; echo err >&2; exit 5"
    done = podman.run(*_run(podman.arena, "p1"), "--rm", IMAGE, "sh", "-c", script)
    assert (done.returncode, done.stdout, done.stderr) == (5, "sh\n", "err\n")


def test_a_life(podman: Engine) -> None:
    limits = ["--memory=32m", "--hostname=boat"]
    podman.ok(*_run(podman.arena, "p2"), "--detach", *limits, IMAGE, "sleep", "100")
    shown = podman.run("exec", "p2", "sh", "-c", "hostname; exit 3")
    assert (shown.returncode, shown.stdout) == (3, "boat\n")
    assert podman.ok("exec", "--user", "33:44", "p2", "id").startswith("uid=33")
    podman.ok("pause", "p2")
    assert json.loads(podman.ok("inspect", "p2"))[0]["State"]["Status"] == "paused"
    podman.ok("unpause", "p2")
    podman.ok("stop", "--time=1", "p2")
    state = json.loads(podman.ok("inspect", "p2"))[0]["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 137)
    podman.ok("start", "p2")
    assert podman.ok("exec", "p2", "echo", "again") == "again\n"
    podman.ok("rm", "--force", "--time=0", "p2")
    assert podman.ok("ps", "--all", "--quiet") == ""


def test_with_a_terminal(podman: Engine) -> None:
    command = podman.words(*_run(podman.arena, "p3"), "--rm", "-t", IMAGE, "tty")
    words = ["script", "-qec", " ".join(command), "/dev/null"]
    done = podman.arena.run(words, env=podman.environment)
    assert done.returncode == 0
    assert "/dev/pts/0" in done.stdout


def test_why_it_failed_is_told(podman: Engine) -> None:
    done = podman.run(*_run(podman.arena, "p4"), "--rm", IMAGE, "nosuch")
    assert done.returncode == 127
    assert 'exec: "nosuch": executable file not found in $PATH' in done.stderr
