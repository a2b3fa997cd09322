"""The pytest plugin: options, marks, the fixtures ``board`` and ``host``, and the report of what ran where."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from toolkit import boards
from toolkit.boards import capability
from toolkit.boards.board import Board
from toolkit.errors import PinnaceError, UsageError
from toolkit.pytest_boards import choose, hosts, report
from toolkit.pytest_boards.pool import Pool
from toolkit.pytest_boards.running import RunningBoard

_POOL = pytest.StashKey[Pool]()
_FACTS = pytest.StashKey[Sequence[choose.Facts]]()
_PARAMETER = "_pinnace_board"
_CONSOLE_LINES = 30


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("boards", "emulated boards")
    group.addoption(
        "--boards",
        metavar="NAMES",
        help="run each test on each of these boards that can show what it needs: names separated by commas, or "
        "'all' (without this, each test runs on the quickest board that fits)",
    )
    group.addoption(
        "--boards-report", metavar="FILE", help="write which test ran on which board there as JSON"
    )
    parser.addini("boards", "boards as with --boards", default="")
    parser.addini("boards_report", "file as with --boards-report", default="")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "board(arch=, tier=, image=): what the test's board has to be; arch armv6l, armv7l, arm64 or amd64, tier native, user or system, image a Debian release or the path of an exported board",
    )
    words = ", ".join(sorted(capability.MEANING))
    config.addinivalue_line(
        "markers", f"requires(*words): what the test's board has to show: {words}"
    )
    worker = getattr(config, "workerinput", {}).get("workerid", "")
    config.stash[_POOL] = Pool(worker)
    if not worker:
        config.pluginmanager.register(_Reporter(config), "pinnace-boards-report")
    if not config.getoption("hosts", None):
        # Registered here, it comes behind testinfra's own plugin and so before its fixture.
        config.pluginmanager.register(hosts, "pinnace-boards-host")


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.stash[_POOL].sweep()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if _PARAMETER not in metafunc.fixturenames:
        return
    try:
        picked = _choices(metafunc)
    except UsageError as problem:
        raise pytest.UsageError(f"{metafunc.definition.nodeid}: {problem}") from None
    parameters = [
        pytest.param(
            choose.Choice(each.board, folder=each.folder),
            id=each.board or "no-board",
            marks=[pytest.mark.skip(reason=each.reason)] if each.reason else [],
        )
        for each in picked
    ]
    metafunc.parametrize(_PARAMETER, parameters, indirect=True, scope="module")


def _choices(metafunc: pytest.Metafunc) -> list[choose.Choice]:
    config, node = metafunc.config, metafunc.definition
    marks = [mark.kwargs for mark in node.iter_markers("board")]
    needs = [word for mark in node.iter_markers("requires") for word in mark.args]
    chosen = config.getoption("--boards") or config.getini("boards")
    if _FACTS not in config.stash:
        names = boards.names() if chosen in ("", "all") else chosen.split(",")
        config.stash[_FACTS] = [facts(boards.get(name.strip())) for name in names]
    wished = choose.wish(marks, needs, partial(_exported, config.rootpath))
    return choose.choices(wished, config.stash[_FACTS], everywhere=bool(chosen))


def _exported(root: Path, path: str) -> tuple[str, str]:
    """An exported image's folder, which is said relative to the project's, and the machine it is for."""
    # Late: it reaches what boards of whole machines are made of.
    from toolkit.boards.system import exported

    folder = root / Path(path).expanduser()
    return str(folder), exported.machine(folder)


def facts(board: Board) -> choose.Facts:
    """What is known of a board without making it."""
    obstacle = ""
    if board.tier != "system" and os.geteuid() != 0:
        obstacle = "needs root"
    return choose.Facts(
        board.name,
        board.arch.label,
        board.tier,
        board.release,
        board.shows,
        obstacle,
        board.machine,
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    if _PARAMETER in parameters:
        name = parameters[_PARAMETER].board
        item.user_properties.append((report.BOARD, name))
        item.user_properties.append((report.TEST, _without(item.nodeid, name or "no-board")))


def _without(nodeid: str, board: str) -> str:
    """A test's name without the board among its parameters."""
    head, bracket, tail = nodeid.partition("[")
    if not bracket:
        return nodeid
    inside = f"-{tail[:-1]}-".replace(f"-{board}-", "-", 1).strip("-")
    return f"{head}[{inside}]" if inside else head


@pytest.fixture(scope="module")
def _pinnace_board(request: pytest.FixtureRequest) -> Iterator[RunningBoard]:
    pool, choice = request.config.stash[_POOL], request.param
    image = Path(choice.folder) if choice.folder else None
    try:
        board = pool.fresh(choice.board, image, yes=os.environ.get("CI") == "true")
    except PinnaceError as problem:
        pytest.fail(f"{choice.board}: {problem}", pytrace=False)
    request.node.stash[_BOARD] = board
    yield board
    del request.node.stash[_BOARD]
    pool.discard(board)


_BOARD = pytest.StashKey[RunningBoard]()


@pytest.fixture(scope="module")
def board(_pinnace_board: RunningBoard) -> RunningBoard:
    """A running board of this test module's own, fresh from its image; see ``pytest --markers``."""
    return _pinnace_board


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """A failure is shown with what the board's console said last."""
    made: pytest.TestReport = yield
    module = item.getparent(pytest.Module)
    running = module.stash.get(_BOARD, None) if module else None
    if made.failed and running is not None and capability.CONSOLE in running.shows:
        said = "\n".join(running.serial.splitlines()[-_CONSOLE_LINES:])
        made.sections.append((f"console of {running.kind}", said))
    return made


class _Reporter:
    """Only where the whole run is seen: in pytest itself, not in a worker of pytest-xdist."""

    def __init__(self, config: pytest.Config) -> None:
        self._ledger = report.Ledger()
        path = config.getoption("--boards-report") or config.getini("boards_report")
        self._path = config.rootpath / path if path else None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._ledger.add(report)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if not self._ledger.rows:
            return
        terminalreporter.section("boards")
        for line in self._ledger.lines():
            terminalreporter.line(line)
        if self._path is not None:
            self._ledger.write(Path(self._path))
            terminalreporter.line(f"report: {self._path}")
