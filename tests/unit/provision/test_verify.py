"""When a provisioned board is verified, and when it is left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from toolkit.connection.hostkeys import KnownHosts
from toolkit.connection.sudo import SudoPassword
from toolkit.errors import HostFailed, PinnaceError
from toolkit.inventory.settings import Settings, Target
from toolkit.provision.converge import Outcome
from toolkit.provision.selection import Selected
from toolkit.verify import command

PI = Selected(Target("pi"), Settings())
SAME, CHANGED = {"ok": 3, "changed": 0}, {"ok": 2, "changed": 1}


class Runs:
    """Stands in for the tests on the board; remembers how it was called."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.result: PinnaceError | None = None

    def __call__(self, *_: object, **options: Any) -> PinnaceError | None:
        self.calls.append(options)
        return self.result


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Runs:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    found = Runs()
    monkeypatch.setattr(command, "attempt", found)
    return found


def after(counts: dict[str, int], plan: str, host: Selected = PI, junit: str = "") -> PinnaceError | None:  # fmt: skip
    return command.after_converge(host, KnownHosts(), SudoPassword(), Outcome(counts, plan), junit=junit)  # fmt: skip


def test_what_passed_and_did_not_change_is_left_alone(runs: Runs) -> None:
    assert after(CHANGED, "plan") is None
    assert after(SAME, "plan") is None
    assert len(runs.calls) == 1


@pytest.mark.parametrize(
    ("counts", "plan", "junit"), [(CHANGED, "plan", ""), (SAME, "other", ""), (SAME, "plan", "x")]
)
def test_a_change_another_plan_or_a_report_verifies_again(
    runs: Runs, counts: dict[str, int], plan: str, junit: str
) -> None:
    after(SAME, "plan")
    after(counts, plan, junit=junit)
    assert len(runs.calls) == 2


def test_what_failed_is_verified_until_it_passes(runs: Runs) -> None:
    after(SAME, "plan")
    runs.result = HostFailed("pi: 1 check failed")
    assert after(CHANGED, "plan") is runs.result
    assert after(SAME, "plan") is runs.result
    runs.result = None
    assert after(SAME, "plan") is None
    assert after(SAME, "plan") is None
    assert len(runs.calls) == 4


def test_only_emulated_boards_are_rebooted(runs: Runs) -> None:
    after(SAME, "plan")
    after(SAME, "plan", Selected(Target("emu", board="emu-amd64"), Settings()))
    assert [call["reboot"] for call in runs.calls] == [False, True]
