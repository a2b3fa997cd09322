"""Each kind of resource on a machine of its own: absent, wrong, drifted, run twice, only looked at, killed.

``PINNACE_EVERY_STEP=1`` kills at each step of each kind; without it at some of them, the same ones every time.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.resources.cases import BY_NAME, CASES, Case, kinds_covered
from tests.conformance.resources.private_root import Killed, converge, counts, run, sh, snapshot
from toolkit.agent import undo
from toolkit.agent.kinds import KINDS
from toolkit.agent.system import System

EVERY_STEP = bool(os.environ.get("PINNACE_EVERY_STEP"))
STRIDE = 1 if EVERY_STEP else 7
# Each step of a package runs dpkg several times.
pytestmark = [pytest.mark.root, pytest.mark.timeout(3600 if EVERY_STEP else 600)]

each_kind = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


def test_the_table_has_every_kind() -> None:
    # A reboot is not made on the board's side; its place in a run is tested with the engine.
    assert set(KINDS) - {"reboot"} <= kinds_covered()


def leaves_nothing() -> None:
    leftovers = [path for path in snapshot() if ".pinnace-" in path or "pinnace-agent/contents" in path]  # fmt: skip
    assert leftovers == []


def becomes_right(case: Case) -> None:
    """Looking changes nothing and says what a run then does; a second run has nothing to do."""
    before = snapshot()
    looked = converge([case.resource()], mode="check")
    assert snapshot() == before
    assert counts(looked)["changed"] == 1
    done = converge([case.resource()])
    assert counts(done) == {"ok": 0, "changed": 1, "failed": 0}
    told = [[event["changes"] for event in events if event["event"] == "result"] for events in (looked, done)]  # fmt: skip
    assert told[0] == told[1]
    sh(case.right)
    leaves_nothing()
    before = snapshot()
    again = converge([case.resource()])
    assert (counts(again)["changed"], again[-1]["handlers"]) == (0, 0)
    assert snapshot() == before


@each_kind
def test_what_is_absent_or_drifted_becomes_right(case: Case, scratch: Path) -> None:
    def scenario() -> None:
        sh(case.prepare)
        becomes_right(case)
        sh(case.drift)
        becomes_right(case)

    run(scratch, scenario)


@each_kind
def test_what_is_wrong_becomes_right(case: Case, scratch: Path) -> None:
    def scenario() -> None:
        sh(case.prepare)
        sh(case.wrong)
        becomes_right(case)

    run(scratch, scenario)


@each_kind
def test_a_run_that_is_killed_is_finished_by_the_next(case: Case, disk: Path) -> None:
    for step in itertools.count(1, STRIDE):
        scratch = disk / f"step{step}"
        scratch.mkdir()

        def scenario(step: int = step) -> bool:
            sh(case.prepare)
            sh(case.wrong)
            killed = False
            try:
                converge([case.resource()], kill_at=step)
            except Killed:
                killed = True
            again = converge([case.resource()])
            assert counts(again)["failed"] == 0, f"killed at step {step}"
            sh(case.right)
            leaves_nothing()
            assert counts(converge([case.resource()])) == {"ok": 1, "changed": 0, "failed": 0}
            return killed

        try:
            killed = run(scratch, scenario)
        finally:
            subprocess.run(["rm", "-rf", scratch], check=True)
        if not killed:
            break
    assert step > 1, "no run was killed"


FILES = ("file", "template", "directory", "link", "line", "line-absent", "unit", "container", "sysctl", "kernel-cmdline", "authorized-key", "hostname", "timezone")  # fmt: skip


def _on_the_board() -> dict[str, Any]:
    """The snapshot without the agent's own files, the stand-ins' state, and times."""
    own = ("var/lib/pinnace-agent", "var/lib/stand-in", "usr/local")
    found = snapshot()
    return {path: (*about[:3], about[4]) for path, about in found.items() if not path.startswith(own)}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_what_a_run_changed_can_be_put_back(name: str, scratch: Path) -> None:
    case = BY_NAME[name]

    def scenario() -> None:
        sh(case.prepare)
        sh(case.wrong)
        before = _on_the_board()
        converge([case.resource()])
        board = System("/")
        assert undo.revert(board, undo.runs(board)[-1]) > 0
        after = _on_the_board()
        # An overlay has a removed path as a device of its own, and directories that were only passed.
        assert {path: after.get(path) for path in before} == before
        more = [path for path in after if path not in before and os.path.lexists(f"/{path}")]
        assert [path for path in more if not os.path.isdir(f"/{path}")] == []

    run(scratch, scenario)
