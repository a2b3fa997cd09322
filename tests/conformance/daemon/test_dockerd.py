"""Debian's dockerd 28 with our daemon as its containerd (``--containerd``): what people type every day."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.daemon.world import ADDRESS, World
from tests.conformance.runc.dropin.engine import IMAGE, Engine, environment, packages

pytestmark = [pytest.mark.root, pytest.mark.peer]
_SOCKET = "/run/docker.sock"


@pytest.fixture(scope="module")
def docker(shared: World) -> Iterator[Engine]:
    arena = shared.arena
    root = packages("sid", "docker.io", "docker-cli")
    variables = environment(arena, root)
    config = arena.scratch / "daemon.json"
    config.write_text("{}")
    words: list[str | Path] = [
        root / "usr/sbin/dockerd", "--containerd", ADDRESS, "--host", f"unix://{_SOCKET}",
        "--data-root", arena.scratch / "docker", "--exec-root", "/run/docker",
        "--pidfile", "/run/docker.pid", "--config-file", config, "--cgroup-parent", arena.name,
        "--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs",
    ]  # fmt: skip
    daemon = arena.start(words, log="dockerd.log", env=variables)
    arena.wait_for(_SOCKET, log="dockerd.log", seconds=60)
    client = [str(root / "usr/bin/docker"), "--host", f"unix://{_SOCKET}"]
    made = Engine(arena, client, variables)
    assert IMAGE in made.ok("load", "--input", str(_saved(shared)))
    yield made
    made.run("rm", "--force", *made.ok("ps", "--all", "--quiet").split())
    arena.run(["pkill", "-TERM", "-F", "/run/docker.pid"])
    daemon.wait(30)


def _saved(shared: World) -> Path:
    """The image of the other tests as our daemon exports it: dockerd loads no layout without manifest.json."""
    archive = shared.arena.scratch / "saved.tar"
    shared.ok("images", "import", shared.archive)
    shared.ok("images", "export", archive, IMAGE)
    shared.ok("images", "rm", "--sync", IMAGE)
    return archive


def _wait(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def _state(docker: Engine, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(docker.ok("inspect", name))[0]["State"]
    return found


def _run(*words: str) -> list[str]:
    return ["run", "--network=none", *words]


def test_it_says_whose_containerd_it_is(docker: Engine) -> None:
    shown = json.loads(docker.ok("version", "--format", "{{json .Server}}"))
    parts = {part["Name"]: part["Version"] for part in shown["Components"]}
    assert shown["Version"].startswith("28.")
    assert "pinnace" in parts["containerd"]


def test_run_to_the_end(docker: Engine) -> None:
    done = docker.run(*_run("--rm", IMAGE, "sh", "-c", "echo out; echo err >&2; exit 5"))
    assert (done.returncode, done.stdout, done.stderr) == (5, "out\n", "err\n")
    assert docker.ok("ps", "--all", "--quiet") == ""


def test_standard_input_reaches_the_container_and_ends(docker: Engine) -> None:
    words = docker.words(*_run("--rm", "--interactive", IMAGE, "wc", "-c"))
    done = docker.arena.run(words, env=docker.environment, input="x" * 300_000)
    assert (done.returncode, done.stdout.strip()) == (0, "300000")


def test_a_life(docker: Engine) -> None:
    loop = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.1; done"
    docker.ok(*_run("--detach", "--name=d2", "--memory=32m", "--hostname=boat", IMAGE, "sh", "-c", loop))  # fmt: skip
    _wait(lambda: docker.ok("logs", "d2") == "ready\n")
    assert "d2" in docker.ok("ps", "--format", "{{.Names}}")
    shown = docker.run("exec", "d2", "sh", "-c", "hostname; exit 3")
    assert (shown.returncode, shown.stdout) == (3, "boat\n")
    assert docker.ok("exec", "--user", "33:44", "d2", "id").startswith("uid=33")
    assert "sleep 0.1" in docker.ok("top", "d2")
    docker.ok("pause", "d2")
    assert _state(docker, "d2")["Status"] == "paused"
    docker.ok("unpause", "d2")
    docker.ok("update", "--memory=48m", "--memory-swap=96m", "d2")
    stats = json.loads(docker.ok("stats", "--no-stream", "--format", "{{json .}}", "d2"))
    assert stats["MemUsage"].endswith("/ 48MiB")
    docker.ok("stop", "d2")
    assert (_state(docker, "d2")["Status"], _state(docker, "d2")["ExitCode"]) == ("exited", 7)
    assert docker.ok("logs", "d2") == "ready\nbye\n"
    docker.ok("start", "d2")
    assert docker.ok("exec", "d2", "echo", "again") == "again\n"
    docker.ok("kill", "d2")
    _wait(lambda: _state(docker, "d2")["ExitCode"] == 137)
    docker.ok("rm", "d2")
    assert docker.ok("ps", "--all", "--quiet") == ""


def test_with_a_terminal(docker: Engine) -> None:
    words = " ".join(docker.words(*_run("--rm", "--tty", IMAGE, "tty")))
    done = docker.arena.run(["script", "-qec", words, "/dev/null"], env=docker.environment)
    assert (done.returncode, "/dev/pts/0" in done.stdout) == (0, True)


def test_why_it_failed_is_told(docker: Engine) -> None:
    done = docker.run(*_run("--rm", IMAGE, "nosuch"))
    assert done.returncode == 127
    assert 'exec: "nosuch": executable file not found in $PATH' in done.stderr


def test_a_restart_policy_restarts(docker: Engine) -> None:
    docker.ok(*_run("--detach", "--name=d5", "--restart=on-failure:2", IMAGE, "sh", "-c", "exit 9"))

    def given_up() -> bool:
        found = json.loads(docker.ok("inspect", "d5"))[0]
        return bool(found["RestartCount"] == 2 and found["State"]["Status"] == "exited")

    _wait(given_up)
    docker.ok("rm", "d5")


def test_containers_outlive_our_daemon_and_dockerd_hears_of_their_end(
    docker: Engine, shared: World
) -> None:
    docker.ok(*_run("--detach", "--name=d6", IMAGE, "sh", "-c", "read x < /dev/null; sleep 600"))
    shared.stop("KILL")
    shared.start()
    _wait(lambda: docker.run("exec", "d6", "true").returncode == 0)
    assert _state(docker, "d6")["Running"] is True
    docker.ok("stop", "--time=0", "d6")
    assert _state(docker, "d6")["ExitCode"] == 137
    docker.ok("rm", "d6")
