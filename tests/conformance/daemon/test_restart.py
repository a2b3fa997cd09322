"""Containers with containerd's restart labels, made by Debian's ctr: they come back, or stay away."""

from __future__ import annotations

import pytest

from tests.conformance.ctr.daemons import IMAGE
from tests.conformance.daemon.test_tasks import tasks, until
from tests.conformance.daemon.world import World

pytestmark = [
    pytest.mark.root,
    pytest.mark.peer,
    # The labels are the same to every series of ctr.
    pytest.mark.parametrize("world", ["1.7"], indirect=True),
]
__all__ = ["tasks"]
_LABEL = "containerd.io/restart."


def _run(world: World, name: str, policy: str, *words: str) -> None:
    labels = ("--label", f"{_LABEL}status=running", "--label", f"{_LABEL}policy={policy}")
    world.ok("run", "-d", *labels, IMAGE, name, *words)


def _count(world: World, name: str) -> int:
    for line in world.ok("containers", "info", name).splitlines():
        key, _, value = line.strip().strip(",").partition(": ")
        if key == f'"{_LABEL}count"':
            return int(value.strip('"'))
    return 0


def test_policies(tasks: World) -> None:
    _run(tasks, "always", "always", "sh", "-c", "exit 0")
    _run(tasks, "twice", "on-failure:2", "sh", "-c", "exit 3")
    _run(tasks, "fine", "on-failure", "true")
    until(lambda: _count(tasks, "always") >= 3)
    until(lambda: _count(tasks, "twice") == 2 and tasks.status("twice") == "STOPPED")
    assert _count(tasks, "fine") == 0
    assert tasks.status("fine") == "STOPPED"
    tasks.ok("containers", "label", "always", f"{_LABEL}status=stopped")


def test_it_comes_back_after_a_kill_and_after_everything_is_gone(tasks: World) -> None:
    """The second is what a reboot leaves: records, and neither daemon nor shim nor container."""
    _run(tasks, "web", "unless-stopped", "sleep", "1000")
    tasks.ok("tasks", "kill", "-s", "KILL", "web")
    until(lambda: _count(tasks, "web") == 1 and tasks.status("web") == "RUNNING")
    tasks.stop("KILL")
    tasks.arena.run(["pkill", "-KILL", "pinnace-shim"])
    tasks.arena.run(["sh", "-c", "rm -rf /run/pinnace/io.containerd.runtime.v2.task/*/web/address"])
    tasks.start()
    until(lambda: _count(tasks, "web") == 2 and tasks.status("web") == "RUNNING")
    tasks.ok("containers", "label", "web", f"{_LABEL}status=stopped")
    until(lambda: tasks.status("web") == "")
