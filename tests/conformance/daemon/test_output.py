"""What containers write: all of it arrives, and nobody has to read it."""

from __future__ import annotations

import secrets

import pytest

from tests.conformance.ctr.daemons import IMAGE
from tests.conformance.daemon.test_tasks import tasks, until
from tests.conformance.daemon.world import World

pytestmark = [
    pytest.mark.root,
    pytest.mark.peer,
    # The streams are the same to every series of ctr.
    pytest.mark.parametrize("world", ["2.1"], indirect=True),
]
__all__ = ["tasks"]
_BURST = "head -c 10485760 /dev/zero | tr '\\0' x"


def test_a_burst_before_the_exit_arrives_whole(tasks: World) -> None:
    done = tasks.ctr("run", "--rm", IMAGE, "t1", "sh", "-c", f"{_BURST}; exit 9")
    assert (done.returncode, len(done.stdout)) == (9, 10 << 20)


def test_a_slow_reader_gets_all_of_a_burst(tasks: World) -> None:
    command = tasks.words("run", "--rm", IMAGE, "t1", "sh", "-c", _BURST)
    slowly = f"'{command[0]}' \"$@\" | {{ sleep 1; wc -c; }}"
    done = tasks.arena.run(["sh", "-c", slowly, "sh", *command[1:]])
    assert int(done.stdout) == 10 << 20, done.stderr


def test_a_container_that_nobody_reads_goes_on(tasks: World) -> None:
    """``ctr run -d`` leaves FIFOs that have no reader any more."""
    tasks.ok("run", "-d", IMAGE, "loud", "sh", "-c", f"{_BURST}; {_BURST} >&2; exit 9")
    until(lambda: tasks.status("loud") == "STOPPED")
    assert "9" in tasks.ctr("tasks", "rm", "loud").stderr


def test_a_log_has_everything(tasks: World) -> None:
    log = tasks.arena.scratch / f"burst-{secrets.token_hex(3)}.log"
    tasks.ok("run", "-d", "--log-uri", f"file://{log}", IMAGE, "loud", "sh", "-c", _BURST)
    until(lambda: tasks.status("loud") == "STOPPED")
    tasks.ok("tasks", "rm", "loud")
    assert log.stat().st_size == 10 << 20
