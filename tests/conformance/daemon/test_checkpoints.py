"""Tasks.Checkpoint with Debian's criu: a container goes on where it was, by Debian's ctr and by ours."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.ctr.daemons import IMAGE
from tests.conformance.daemon.test_tasks import until
from tests.conformance.daemon.world import ADDRESS, World, peer
from tests.conformance.runc.test_checkpoint import _ONE_VERSION, _PYTHONS
from toolkit.arch import Arch
from toolkit.arena import Arena
from toolkit.debian import Archive

pytestmark = [pytest.mark.root, pytest.mark.peer]
_COUNTS = "while :; do echo -n x >> /count; sleep 0.05; done"


class Lab(World):
    """A daemon and a keeper whose PATH has criu."""

    criu = Path()

    def environment(self) -> dict[str, str]:
        debian = Arch.from_machine(os.uname().machine).facts.debian
        runc = Archive("bookworm", debian).unpack(["runc"], dependencies=False)
        path = f"{self.criu}/usr/sbin:{runc}/usr/sbin:{os.environ['PATH']}"
        return {**super().environment(), "PATH": path}

    def our_words(self, *words: str) -> list[str]:
        python = [sys.executable, "-m", "pinnace.cli.main", "ctr"]
        return [*python, "--address", ADDRESS, "--namespace", self.namespace, *words]

    def left(self) -> list[str]:
        """Checkpoints that the daemon keeps as files."""
        return os.listdir(self.arena.scratch / "root/checkpoints")

    def count(self, name: str) -> int:
        done = self.ctr("tasks", "exec", "--exec-id", "c", name, "wc", "-c", "/count")
        return int(done.stdout.split()[0]) if done.returncode == 0 else 0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    debian = Arch.from_machine(os.uname().machine).facts.debian
    more = ["libsqlite3-0", "libuuid1", "libmount1"]
    criu = Archive("forky", debian).unpack(["criu", *_PYTHONS, *more], dependencies=True)
    library = next(criu.glob("usr/lib/*-linux-gnu"))
    with Arena(f"{_ONE_VERSION} && mount --bind '{library}' /usr/lib/{library.name}") as arena:
        if arena.run([criu / "usr/sbin/criu", "check"]).returncode:
            pytest.skip("this kernel lacks what criu needs (criu check)")
        world = Lab(arena)
        world.criu = criu
        world.start_keeper()
        world.start()
        world.ok("images", "import", world.archive)
        yield world


@pytest.fixture(autouse=True)
def _nothing_is_left(lab: Lab) -> Iterator[None]:
    """Of a run that failed, for the next."""
    yield
    for name in ("first", "second"):
        lab.ctr("tasks", "rm", "-f", name)
        lab.ctr("containers", "rm", name)


def _run(lab: Lab, name: str, *flags: str) -> None:
    # A network namespace takes iptables or nft, which criu locks connections with.
    lab.ok("run", "-d", "--net-host", *flags, IMAGE, name, "sh", "-c", _COUNTS)
    until(lambda: lab.count(name) > 0)


def _end(lab: Lab, name: str) -> None:
    lab.ok("tasks", "kill", "-s", "KILL", name)
    # Who restored it waits for it, and removes the task.
    until(lambda: lab.status(name) in ("STOPPED", ""))
    lab.ctr("tasks", "rm", name)
    lab.ok("containers", "rm", name)


@pytest.mark.parametrize("ctr", ["theirs", "ours", "their-shim"])
def test_a_container_goes_on_in_another(lab: Lab, ctr: str) -> None:
    run = lab.our_words if ctr == "ours" else lab.words
    image = f"saved:{ctr}-{secrets.token_hex(3)}"
    shim = str(peer("1.7") / "usr/bin/containerd-shim-runc-v2")
    _run(lab, "first", *(("--runtime", shim) if ctr == "their-shim" else ()))
    made = lab.arena.run(
        run("containers", "checkpoint", "--rw", "--image", "--task", "first", image),
        env=lab.environment(),
    )
    assert made.returncode == 0, made.stderr
    until(lambda: lab.status("first") == "RUNNING")
    before = lab.count("first")
    _end(lab, "first")
    words = run("containers", "restore", "--rw", "--live", "second", image)
    restored = lab.arena.start(words, log="restore", env=lab.environment())
    until(lambda: lab.status("second") == "RUNNING", 30)
    until(lambda: lab.count("second") > before)
    assert lab.left() == []  # it was needed for the start
    _end(lab, "second")
    restored.wait(20)


def test_into_a_directory_and_no_further(lab: Lab) -> None:
    _run(lab, "first")
    lab.ok("tasks", "checkpoint", "--exit", "--image-path", str(lab.arena.scratch / "images"), "first")  # fmt: skip
    until(lambda: lab.status("first") == "STOPPED")
    assert list((lab.arena.scratch / "images").glob("pages-*.img"))
    assert "137" in lab.ctr("tasks", "rm", "first").stderr
    lab.ok("containers", "rm", "first")


def test_without_criu_the_error_says_what_to_do(lab: Lab, shared: World) -> None:
    assert lab
    shared.series, shared.namespace = "1.7", shared.arena.name
    shared.ok("images", "import", shared.archive)
    shared.ok("run", "-d", IMAGE, "plain", "sleep", "1000")
    done = shared.ctr("tasks", "checkpoint", "plain")
    assert done.returncode == 1
    assert "criu, which is not installed" in done.stderr
    assert shared.status("plain") == "RUNNING"
    shared.ok("tasks", "kill", "-s", "KILL", "plain")
    until(lambda: shared.status("plain") == "STOPPED")
    shared.ctr("tasks", "rm", "plain")
    shared.ok("containers", "rm", "plain")
