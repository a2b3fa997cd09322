"""Debian's dockerd with our runc added as a runtime."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.runc.dropin.engine import IMAGE, Engine, environment, packages
from toolkit.arch import Arch
from toolkit.arena import Arena
from toolkit.debian import Archive
from toolkit.lab import recipes

pytestmark = [pytest.mark.root, pytest.mark.peer]
_SOCKET = "/run/docker.sock"


@pytest.fixture(scope="module")
def docker(arena: Arena, release: Path) -> Iterator[Engine]:
    root = packages("trixie", "docker.io", "docker-cli")
    variables = environment(arena, root)
    words: list[str | Path] = [
        root / "usr/sbin/dockerd", "--host", f"unix://{_SOCKET}", "--data-root", arena.scratch / "docker",
        "--exec-root", "/run/docker", "--pidfile", "/run/docker.pid", "--config-file", _configuration(arena),
        "--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs",
        "--cgroup-parent", arena.name,
        "--add-runtime", f"pinnace={release}/bin/runc", "--default-runtime=pinnace",
    ]  # fmt: skip
    arena.start(words, log="dockerd.log", env=variables)
    arena.wait_for(_SOCKET, log="dockerd.log", seconds=40)
    client = [str(root / "usr/bin/docker"), "--host", f"unix://{_SOCKET}"]
    made = Engine(arena, client, variables)
    (arena.scratch / "root.tar").write_bytes(_root())
    settings = ["--change", 'CMD ["sh"]', "--change", f"ENV {recipes.PATH}"]
    made.ok("import", *settings, str(arena.scratch / "root.tar"), IMAGE)
    yield made
    made.run("rm", "--force", *made.ok("ps", "--all", "--quiet").split())


def _root() -> bytes:
    """The image's files: dockerd loads no OCI layouts."""
    arch = Arch.from_machine(os.uname().machine)
    packages = Archive(recipes.SUITE, arch.facts.debian).download(["busybox-static"])
    return recipes.busybox(packages).tar()


def _configuration(arena: Arena) -> Path:
    path = arena.scratch / "daemon.json"
    path.write_text("{}")
    return path


def _run(name: str) -> list[str]:
    return ["run", "--network=none", "--name", name]


def test_run_to_the_end(docker: Engine) -> None:
    script = "cat /proc/1/comm; echo err >&2; exit 5"
    done = docker.run(*_run("d1"), "--rm", IMAGE, "sh", "-c", script)
    assert (done.returncode, done.stdout, done.stderr) == (5, "sh\n", "err\n")


def test_a_life(docker: Engine) -> None:
    docker.ok(*_run("d2"), "--detach", "--memory=32m", "--hostname=boat", IMAGE, "sleep", "100")
    shown = docker.run("exec", "d2", "sh", "-c", "hostname; exit 3")
    assert (shown.returncode, shown.stdout) == (3, "boat\n")
    assert docker.ok("exec", "--user", "33:44", "d2", "id").startswith("uid=33")
    assert "sleep 100" in docker.ok("top", "d2")
    docker.ok("pause", "d2")
    assert json.loads(docker.ok("inspect", "d2"))[0]["State"]["Status"] == "paused"
    docker.ok("unpause", "d2")
    docker.ok("update", "--memory=48m", "--memory-swap=96m", "d2")
    docker.ok("stop", "--time=1", "d2")
    state = json.loads(docker.ok("inspect", "d2"))[0]["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 137)
    docker.ok("start", "d2")
    assert docker.ok("exec", "d2", "echo", "again") == "again\n"
    docker.ok("rm", "--force", "d2")
    assert docker.ok("ps", "--all", "--quiet") == ""


def test_with_a_terminal(docker: Engine) -> None:
    words = ["script", "-qec", " ".join(docker.words(*_run("d3"), "--rm", "-t", IMAGE, "tty"))]
    done = docker.arena.run([*words, "/dev/null"], env=docker.environment)
    assert done.returncode == 0
    assert "/dev/pts/0" in done.stdout


def test_why_it_failed_is_told(docker: Engine) -> None:
    done = docker.run(*_run("d4"), "--rm", IMAGE, "nosuch")
    assert done.returncode == 127
    assert 'exec: "nosuch": executable file not found in $PATH' in done.stderr
