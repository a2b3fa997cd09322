"""Which test ran on which board: the table at the end of a run, and the file for machines.

Facts travel in the reports of pytest, so that the workers of pytest-xdist tell them too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

BOARD, TEST, GROUP = "pinnace_board", "pinnace_test", "pinnace_group"
"""The properties of a report: the board's kind, the test without its board, and (or its module) its group."""

OUTCOMES = ("passed", "failed", "skipped")


@dataclass(slots=True)
class Row:
    """One test on one board; ``board`` is empty when there was none for it. ``seconds`` with set-up."""

    test: str
    board: str
    group: str
    outcome: str = "passed"
    why: str = ""
    seconds: float = 0.0


class Ledger:
    """Collects the rows from pytest's reports."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Row] = {}

    def add(self, report: pytest.TestReport) -> None:
        """Take what a report says, if it is of a test that takes a board; of one that is run again, the last time."""
        facts = dict(report.user_properties)
        if TEST not in facts or report.outcome not in OUTCOMES:
            return
        test, board = str(facts[TEST]), str(facts[BOARD])
        group = str(facts.get(GROUP, test.partition("::")[0]))
        row = self._rows.setdefault((test, board), Row(test, board, group))
        row.seconds += report.duration
        if report.outcome != "passed" and row.outcome != "failed":
            row.outcome, row.why = report.outcome, _why(report)

    @property
    def rows(self) -> list[Row]:
        """By test, then by board; workers tell them in any order."""
        return [row for _, row in sorted(self._rows.items())]

    def nowhere(self) -> dict[str, str]:
        """The tests that ran on no board at all, and why."""
        reasons: dict[str, list[str]] = {}
        ran = {row.test for row in self.rows if row.outcome != "skipped"}
        for row in self.rows:
            if row.test not in ran:
                reasons.setdefault(row.test, []).append(row.why)
        return {test: "; ".join(dict.fromkeys(whys)) for test, whys in reasons.items()}

    def groups(self) -> dict[str, dict[str, list[Row]]]:
        """The rows by group and board."""
        found: dict[str, dict[str, list[Row]]] = {}
        for row in self.rows:
            found.setdefault(row.group, {}).setdefault(row.board, []).append(row)
        return found

    def write(self, path: Path) -> None:
        """Keep everything in a JSON file."""
        document = {"tests": [asdict(row) for row in self.rows], "ran_nowhere": self.nowhere()}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2) + "\n")

    def lines(self) -> Iterable[str]:
        """The report for people: board by test group, then what ran nowhere."""
        boards = sorted({row.board for row in self.rows if row.board})
        table = [["", *boards]]
        for group, by_board in self.groups().items():
            table.append([group, *(cell(by_board.get(board, [])) for board in boards)])
        if boards:
            yield from aligned(table)
        nowhere = self.nowhere()
        if nowhere:
            yield "ran on no board:"
            yield from (f"  {test}: {why}" for test, why in nowhere.items())


def cell(rows: list[Row]) -> str:
    """``4 passed, 1 skipped, 3.2 s``; a dash for no test at all."""
    if not rows:
        return "-"
    counts: Mapping[str, int] = {
        outcome: sum(1 for row in rows if row.outcome == outcome) for outcome in OUTCOMES
    }
    said = [f"{count} {outcome}" for outcome, count in counts.items() if count]
    return ", ".join([*said, f"{sum(row.seconds for row in rows):.1f} s"])


def aligned(table: list[list[str]]) -> Iterable[str]:
    """Rows of text as lines, with every column as wide as its longest cell."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def _why(report: pytest.TestReport) -> str:
    if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash: Any = getattr(report.longrepr, "reprcrash", None)
    said = str(getattr(crash, "message", report.longrepr)).strip()
    return said.splitlines()[0] if said else ""
