"""Output for people: steps with a name, a bar where there is a size, elapsed time, and a recap.

Everything the toolkit prints goes through here. Progress goes to standard error and results to
standard output, so that ``--json`` and pipes stay clean. On a terminal a running step is a live
line; elsewhere each finished step is one line.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rich.console import Console, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from toolkit.errors import PinnaceError
from toolkit.secrets.mask import masked

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

_PIPE_WIDTH = 1000
_MARKS = {"ok": ("✓", "green"), "changed": ("~", "yellow"), "failed": ("✗", "red"), "skipped": ("-", "dim")}  # fmt: skip


_listener: ContextVar[Callable[[str], None] | None] = ContextVar("listener", default=None)
_shares: ContextVar[Callable[[str], None] | None] = ContextVar("shares", default=None)
_live: list[Live] = []
_question = threading.RLock()


class Doing(str):
    """What is being done; ``share`` (0 to 1) of all that is to be done is done."""

    share: float

    def __new__(cls, text: str, share: float) -> Doing:
        made = super().__new__(cls, text)
        made.share = share
        return made


@contextmanager
def told_to(listener: Callable[[str], None]) -> Iterator[None]:
    """In this thread, steps and lines are words for ``listener`` instead of output.

    For many hosts at once, which share one table.
    """
    token = _listener.set(listener)
    try:
        with shared_with(listener):
            yield
    finally:
        _listener.reset(token)


@contextmanager
def shared_with(listener: Callable[[str], None]) -> Iterator[None]:
    """In this thread, ``listener`` is told how far things are; what is printed is printed."""
    token = _shares.set(listener)
    try:
        yield
    finally:
        _shares.reset(token)


def doing(text: str, share: float) -> None:
    """Tell how far this thread's work is (0 to 1), for tables with bars."""
    listener = _shares.get()
    if listener is not None:
        listener(Doing(text, share))


@contextmanager
def live(table: Callable[[], RenderableType]) -> Iterator[None]:
    """Show ``table`` anew all the time, below what is printed, where there is a terminal."""
    if not err.is_terminal:
        yield
        return
    shown = Live(get_renderable=table, console=err, transient=True, refresh_per_second=8)
    _live.append(shown)
    shown.start()
    try:
        yield
    finally:
        shown.stop()
        _live.remove(shown)


@contextmanager
def asking() -> Iterator[None]:
    """While somebody is asked something nothing else is written, and what is said to them is printed."""
    with _question:
        token = _listener.set(None)
        for shown in _live:
            shown.stop()
        try:
            yield
        finally:
            for shown in _live:
                shown.start()
            _listener.reset(token)


def elapsed(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3 min 05 s``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def line(
    status: str, name: str, detail: str = "", seconds: float | None = None, below: Iterable[Text] = ()
) -> None:  # fmt: skip
    """Print one finished step: ``status`` is ok, changed, failed or skipped.

    The lines ``below`` it stay with it, whatever other threads print.
    """
    listener = _listener.get()
    if listener is not None:
        listener(name)
        return
    mark, style = _MARKS[status]
    text = Text.assemble((f"{mark} ", style), masked(name))
    if detail:
        text.append(f"  {masked(detail)}", style="dim")
    if seconds is not None:
        text.append(f"  {elapsed(seconds)}", style="cyan")
    err.print(Text("\n").join([text, *below]), soft_wrap=True)


def note(message: str) -> None:
    """A line of information that is not a step."""
    listener = _listener.get()
    if listener is not None:
        listener(message)
        return
    err.print(Text(masked(message)), soft_wrap=True)


class Step:
    """A running step: ``advance`` its bar, or change what it says it is doing."""

    def __init__(self, progress: Progress | None, task: TaskID | None) -> None:
        self._progress = progress
        self._task = task
        self.status = "ok"
        self.detail = ""

    def advance(self, amount: int) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, amount)

    def total(self, amount: int) -> None:
        """Set the size, once it is known (bytes where the step moves bytes)."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, total=amount)

    def say(self, doing: str) -> None:
        """What it is doing right now, shown behind the name while it runs."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, doing=escape(masked(doing)))


@contextmanager
def step(name: str, *, total: int | None = None) -> Iterator[Step]:
    """Show a step while it runs and one line with its time when it has ended.

    ``total`` (bytes) turns the spinner into a bar. Set ``status`` and ``detail`` of the yielded
    step to change its closing line. An exception is shown as failed and passed on.
    """
    listener = _listener.get()
    if listener is not None:
        listener(name)
        yield Step(None, None)
        return
    started = time.monotonic()
    if not err.is_terminal:
        current = Step(None, None)
        try:
            yield current
        except BaseException:
            line("failed", name, current.detail, time.monotonic() - started)
            raise
    else:
        columns = [
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TextColumn("[dim]{task.fields[doing]}"),
        ]
        sized = [BarColumn(bar_width=30), DownloadColumn()] if total is not None else []
        with Progress(
            *columns, *sized, TimeElapsedColumn(), console=err, transient=True
        ) as progress:
            task = progress.add_task(escape(masked(name)), total=total, doing="")
            current = Step(progress, task)
            failed = True
            try:
                yield current
                failed = False
            finally:
                if failed:
                    progress.stop()
                    line("failed", name, current.detail, time.monotonic() - started)
    line(current.status, name, current.detail, time.monotonic() - started)


def table(
    columns: Iterable[str], rows: Iterable[Iterable[str]], *, title: str | None = None
) -> None:
    """Print a table on standard output, aligned, without boxes.

    Nothing is cut off: a narrow terminal folds a cell, and a pipe gets each row on one line.
    """
    grid = Table(title=title, box=None, pad_edge=False, title_justify="left", header_style="bold")
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(masked(cell)) for cell in row))
    wide = out if out.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)
    wide.print(grid)


def recap(title: str, counts: dict[str, int], seconds: float) -> None:
    """The closing line of a command: ``emu-armv6l  ok=12 changed=3 failed=0  1 min 02 s``."""
    colours = {"changed": "yellow", "failed": "red", "unreachable": "red"}
    text = Text(title, style="bold")
    for name, count in counts.items():
        text.append(f"  {name}={count}", style=colours.get(name, "green") if count else "dim")
    text.append(f"  {elapsed(seconds)}", style="cyan")
    err.print(text, soft_wrap=True)


def error(problem: PinnaceError) -> None:
    """One line on standard error, with the remedy behind it."""
    text = Text.assemble(("error: ", "bold red"), problem.message)
    if problem.hint:
        text.append(f"{'' if problem.message.endswith(('.', '?')) else '.'} {problem.hint}")
    err.print(text, soft_wrap=True)
