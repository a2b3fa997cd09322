"""A release takes over the containers that another one has started: an upgrade, and the way back."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.conformance.ctr.daemons import IMAGE
from tests.conformance.daemon.test_tasks import until
from tests.conformance.daemon.world import World
from toolkit.arena import Arena
from toolkit.paths import RUNTIME

pytestmark = [pytest.mark.root, pytest.mark.peer]


def _release(place: Path, version: str, protocol: int) -> Path:
    """A copy of the runtime that has another version and speaks another version to shims."""
    shutil.copytree(RUNTIME / "pinnace", place / "pinnace", ignore=shutil.ignore_patterns("*.pyc"))
    for name, key, value in (
        ("version.py", "VERSION", repr(version)),
        ("keeper/protocol.py", "VERSION", str(protocol)),
    ):
        path = place / "pinnace" / name
        changed, count = re.subn(rf"^{key} = .*$", f"{key} = {value}", path.read_text(), flags=re.M)
        assert count == 1
        path.write_text(changed)
    return place


def _switch(world: World, release: Path) -> None:
    """Both services of another release, as after an upgrade."""
    world.stop("TERM")
    # The oldest of that name: shims that it has forked share its command line.
    world.arena.run(["pkill", "-TERM", "-o", "-f", "pinnace.keeper --address"])
    world.runtime = release
    world.start_keeper()
    world.start()


@pytest.mark.parametrize(
    ("version", "protocol"), [("0.0.1", 0), ("9.9.9", 99)], ids=["upgrade", "downgrade"]
)
def test_containers_of_another_release_are_taken_over(version: str, protocol: int) -> None:
    with Arena() as arena:
        world = World(arena)
        world.runtime = _release(arena.scratch / "other", version, protocol)
        world.start_keeper()
        world.start()
        assert version in world.ok("version")
        world.ok("images", "import", world.archive)
        out = arena.scratch / "ticks"
        script = "while :; do echo tick; sleep 0.1; done"
        world.ok("run", "-d", "--log-uri", f"file://{out}", IMAGE, "ticks", "sh", "-c", script)
        world.ok("run", "-d", IMAGE, "brief", "sh", "-c", "sleep 1; exit 23")
        _switch(world, RUNTIME)
        assert version not in world.ok("version")
        assert ("of a newer release" in world.log()) == (protocol > 1)
        before = out.read_text().count("tick")
        until(lambda: out.read_text().count("tick") > before)
        done = world.ctr(
            "tasks", "exec", "--exec-id", "e1", "ticks", "sh", "-c", "echo out; exit 5"
        )
        assert (done.returncode, done.stdout) == (5, "out\n")
        until(lambda: world.status("brief") == "STOPPED")
        assert "23" in world.ctr("tasks", "rm", "brief").stderr
        world.ok("tasks", "kill", "-s", "KILL", "ticks")
        until(lambda: world.status("ticks") == "STOPPED")
        assert "137" in world.ctr("tasks", "rm", "ticks").stderr
