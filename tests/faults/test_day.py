"""A day simulated: containers started and removed thousands of times; the daemon stays as large as it was.

``PINNACE_DAY_CYCLES`` is how many there are (20000 is the full size). What counts is memory, descriptors and disk after
the first part against the end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pinnace.api.schema import leases
from tests.faults.daemon_cycles import cycles
from tests.faults.test_daemon_killed import Stack, has_at_most, until
from toolkit.arena import Arena

pytestmark = [pytest.mark.root, pytest.mark.peer, pytest.mark.timeout(0)]
CYCLES = int(os.environ.get("PINNACE_DAY_CYCLES", "60"))
_WARM_UP = min(1000, CYCLES // 3)
_GROWTH = 1.05 if CYCLES >= 2000 else 1.25
"""Of memory, as a factor; a short day sees what is only there once (services that are loaded at their first call)."""

_JOURNAL = 8 << 20
"""Bytes that SQLite's journal may take before it begins anew (wal_autocheckpoint: 1000 pages), twice."""


@pytest.fixture
def stack() -> Iterator[Stack]:
    with Arena() as arena:
        yield Stack(arena)


class Size:
    """How large the daemon is: bytes of memory of its own, descriptors, bytes and files on its disk."""

    def __init__(self, stack: Stack) -> None:
        with open(f"/proc/{stack.daemon.pid()}/smaps_rollup", encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in file.read().splitlines()[1:])
        self.memory = int(fields["Pss"].split()[0]) << 10
        self.descriptors = stack.descriptors()
        found = (name for *_, files in os.walk(stack.arena.scratch / "root") for name in files)
        # SQLite's journal and its index come and go with the connections.
        self.files = sorted(name for name in found if not name.endswith(("-wal", "-shm")))
        done = stack.arena.run(["du", "-sb", str(stack.arena.scratch / "root")])
        self.disk = int(done.stdout.split()[0])


def _collect(stack: Stack) -> None:
    """Have the garbage collected now: what the image's import left may stay a while on a fast machine."""
    client = stack.client()
    client.call(leases.Leases.create, leases.CreateRequest(id="collect"))
    client.call(leases.Leases.delete, leases.DeleteRequest(id="collect", sync=True))
    client.close()


def test_a_day_leaves_the_daemon_as_it_was(stack: Stack) -> None:
    cycles(stack, _WARM_UP, "c-first")
    until(lambda: not stack.left(), "everything is gone")
    _collect(stack)
    before = Size(stack)
    cycles(stack, CYCLES - _WARM_UP, "c-day")
    until(lambda: not stack.left(), "everything is gone")
    # Threads and connections of the last calls go a little later.
    until(lambda: has_at_most(stack.descriptors(), before.descriptors), "as few descriptors")
    after = Size(stack)
    assert after.memory <= before.memory * _GROWTH
    assert after.files == before.files
    assert after.disk <= before.disk + _JOURNAL
