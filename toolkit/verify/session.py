"""The pytest run: in this process, over a connection that is open already."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from toolkit.connection.ssh import Connection
from toolkit.errors import UsageError
from toolkit.inventory.settings import Settings, Target
from toolkit.paths import PROJECT

Restart = Callable[[], Connection]
BOARD_TESTS = PROJECT / "tests" / "board"


@dataclass(frozen=True, slots=True)
class Case:
    """One test's end: ``outcome`` is passed, failed or skipped, ``why`` a line, ``seconds`` its time."""

    module: str
    name: str
    outcome: str
    why: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Subject:
    """The board that the tests are about, as ``tests/board/conftest.py`` gets it.

    ``reboot`` restarts the board and returns a new connection; ``None`` where that is not wanted.
    ``shows`` is what the board can show, in the words of :mod:`toolkit.boards.capability`.
    """

    connection: Connection
    target: Target
    settings: Settings
    reboot: Restart | None
    shows: frozenset[str]


class Plugin:
    """Hands the subject to the tests, and tells each case as it ends."""

    def __init__(self, subject: Subject, tell: Callable[[Case], None]) -> None:
        self.subject = subject
        self.cases: list[Case] = []
        self._tell = tell

    @pytest.fixture(scope="session")
    def subject_of_run(self) -> Subject:
        return self.subject

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """A test that says what it needs of a board is run where it can be."""
        needs = {word for mark in item.iter_markers("requires") for word in mark.args}
        missing = sorted(needs - self.subject.shows)
        if missing:
            pytest.skip(f"{self.subject.target.name} cannot show {', '.join(missing)}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # A test that fails or is skipped in its set-up never gets to its call.
        if report.when != "call" and report.outcome == "passed":
            return
        module, _, name = report.nodeid.rpartition("::")
        stem = module.rsplit("/", 1)[-1].removeprefix("test_").removesuffix(".py")
        words = name.removeprefix("test_").replace("_", " ")
        case = Case(stem, words, report.outcome, _why(report), report.duration)
        self.cases.append(case)
        self._tell(case)


def _why(report: pytest.TestReport) -> str:
    if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    if report.outcome != "failed":
        return ""
    crash: Any = getattr(report.longrepr, "reprcrash", None)
    return str(getattr(crash, "message", report.longrepr)).strip().splitlines()[0]


def modules(words: str) -> tuple[str, ...]:
    """``units,files``: the modules of tests of these names; raises :class:`UsageError` for one that is not there."""
    known = sorted(path.stem.removeprefix("test_") for path in BOARD_TESTS.glob("test_*.py"))
    found = tuple(word for word in words.split(",") if word)
    for word in found:
        if word not in known:
            raise UsageError(f"there are no tests {word!r} of a board", hint=f"there are {', '.join(known)}")  # fmt: skip
    return found


def run(
    subject: Subject, *, junit: str, tell: Callable[[Case], None], only: Sequence[str] = ()
) -> list[Case]:
    """Run the board tests, or the modules ``only``; returns how each ended."""
    plugin = Plugin(subject, tell)
    places = [str(BOARD_TESTS / f"test_{name}.py") for name in only] or [str(BOARD_TESTS)]
    options = [*places, "-q", "-p", "no:cacheprovider", "--rootdir", str(PROJECT)]
    options += ["-c", str(PROJECT / "pyproject.toml"), "-o", "addopts=", "-o", "timeout=0"]
    if junit:
        options += [f"--junit-xml={junit}", "-o", f"junit_suite_name={subject.target.name}"]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        status = pytest.main(options, plugins=[plugin])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        last = said.getvalue().strip().splitlines()[-1:]
        plugin.cases.append(Case("board", "tests can be run", "failed", " ".join(last), 0.0))
    return plugin.cases
