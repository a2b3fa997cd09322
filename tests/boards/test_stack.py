"""The whole stack on every board: provisioned from nothing, verified, and left alone by a second run."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.laptop import Laptop
from toolkit.pytest_boards import RunningBoard

pytestmark = [pytest.mark.root, pytest.mark.emulated, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def laptop(board: RunningBoard, tmp_path_factory: pytest.TempPathFactory) -> Laptop:
    """An inventory with this board."""
    made = Laptop(tmp_path_factory.mktemp("laptop"))
    made.inventory(f"subject board={board.name}\n")
    return made


@pytest.fixture(scope="module")
def provisioned(laptop: Laptop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first run, with verification and a reboot; returns its JUnit file."""
    report = tmp_path_factory.mktemp("junit") / "report.xml"
    done = laptop.inv("provision", "--host", "subject", "--junit", str(report), limit=1500)
    assert done.returncode == 0, done.stdout + done.stderr
    return report


def test_a_bare_board_is_provisioned_and_passes_every_check(provisioned: Path) -> None:
    cases = list(ElementTree.parse(provisioned).getroot().iter("testcase"))
    assert len(cases) > 10
    assert all(case.find("failure") is None and case.find("error") is None for case in cases)


@pytest.mark.usefixtures("provisioned")
def test_limits_are_enforced_where_the_board_can_show_it(
    board: RunningBoard, provisioned: Path
) -> None:
    """No check of a limit may be left out on a board that has the controllers."""
    skipped = {
        case.attrib["name"]
        for case in ElementTree.parse(provisioned).getroot().iter("testcase")
        if case.find("skipped") is not None
    }
    if {"memory-limit", "pids-limit"} <= board.shows:
        assert not skipped & {"test_memory_limit_holds", "test_pids_limit_holds"}


@pytest.mark.usefixtures("provisioned")
def test_a_second_run_changes_nothing(laptop: Laptop) -> None:
    done = laptop.inv("provision", "--host", "subject", "--no-verify")
    assert done.returncode == 0, done.stderr
    assert "changed=0" in done.stderr
