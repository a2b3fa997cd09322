"""The events of one sequence of commands: topics, order and fields are containerd's."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

from tests.conformance.matrix import sides
from tests.conformance.matrix.sides import Row, Side

pytestmark = [pytest.mark.root, pytest.mark.peer]
_COMMANDS = (
    "images import --local {tmp}/busybox.tar",
    "namespaces create other a=1",
    "namespaces label other a=2",
    "namespaces remove other",
    "images tag --local {image.name} registry.lab/second:1",
    "images label {image.name} k=v",
    "run --rm {image.name} brief sh -c 'exit 3'",
    "run -d {image.name} long sleep 1000",
    "containers label long k=v",
    "tasks exec --exec-id e1 long sh -c 'exit 4'",
    "tasks pause long",
    "tasks resume long",
    "tasks kill -s KILL long",
    "tasks rm long",
    "containers rm long",
    "images rm registry.lab/second:1",
    "namespaces create last",
)
_LAST = "/namespaces/create"
_UNSTEADY = frozenset(("pid", "bundle", "rootfs", "exited_at", "key"))
"""Fields whose values differ from run to run; that they are there is compared."""


class Watch:
    """``ctr events`` of one side."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._log = side.arena.scratch / "events.log"
        words = [*side.ctr, "--address", side.address, "--namespace", side.arena.name, "events"]
        self._process = side.arena.start(words, log="events.log")

    def begin(self) -> None:
        """Wait until it listens: until something that is done again and again is told."""
        for _ in range(400):
            self._side.see(Row("namespaces create begin"))
            self._side.see(Row("namespaces remove begin"))
            if "/namespaces/delete" in self._log.read_text():
                return
            time.sleep(0.05)
        raise AssertionError("no event was told")

    def events(self) -> list[str]:
        """What was told after the beginning, once the last one is there; then it ends."""
        deadline = time.monotonic() + 60
        while not any('"last"' in line for line in self._log.read_text().splitlines()):
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.05)
        self._process.kill()
        self._process.wait(20)
        lines = [line for line in self._log.read_text().splitlines() if '"begin"' not in line]
        return [self._shown(line) for line in lines if " /" in line]

    def _shown(self, line: str) -> str:
        found = re.search(r" (/[a-z/-]+) (\{.*\})", line)
        assert found is not None, line
        fields = _steady(json.loads(found[2]))
        return f"{found[1]} {json.dumps(fields, sort_keys=True)}".replace(
            self._side.arena.name, "NS"
        )


def _steady(fields: Any) -> Any:
    if isinstance(fields, dict):
        return {
            name: "-" if name in _UNSTEADY else _steady(value) for name, value in fields.items()
        }
    if isinstance(fields, str):
        return re.sub(r"/run/[^ ]*/(fifo)/[^ ]*", r"\1", fields)
    return fields


def _told(side: Side) -> list[str]:
    watch = Watch(side)
    watch.begin()
    for command in _COMMANDS:
        side.see(Row(command))
        if command.startswith("tasks kill"):
            _until_stopped(side)
    return watch.events()


def _until_stopped(side: Side) -> None:
    deadline = time.monotonic() + 60
    while "STOPPED" not in side.see(Row("tasks ls")).out:
        assert time.monotonic() < deadline, "it was not killed"
        time.sleep(0.05)


_LOSES = "/tasks/delete"
"""What containerd leaves out now and then: its shim has ended before that was passed on."""


def test_events_are_those_of_containerd() -> None:
    with sides.pinnaced() as ours, sides.containerd("2.1") as theirs:
        found, wanted = _told(ours.with_ctr(theirs.ctr)), _told(theirs)
    assert len(wanted) > 20
    assert len([each for each in found if each.startswith(_LOSES)]) == 2
    assert [each for each in found if each in wanted or not each.startswith(_LOSES)] == wanted
