"""A command over many hosts as a person sees it: a live table on a terminal, a line a host elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from toolkit import console
from toolkit.report.events import Event, Status
from toolkit.report.timeline import Line, Timeline

_STYLES = {
    Status.OK: "green", Status.CHANGED: "yellow", Status.FAILED: "red", Status.UNREACHABLE: "red",
    Status.REVERTED: "magenta", Status.STUCK: "bold red", Status.REVERTING: "magenta", Status.WAITING: "dim",
}  # fmt: skip
_LIVE_ROWS = 12
"""Hosts at work that are shown; the rest is a number."""
_BAR = 16


class Shown:
    """Follows events; use it as a context, so that the terminal is whole again afterwards."""

    def __init__(self, before: Iterable[Event] = (), *, name: str = "rollout") -> None:
        """``before``: what happened in earlier parts. ``name``: the command's, for its last line."""
        self._timeline = Timeline().follow(before)
        self._name = name
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(console.live(self._table))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:  # fmt: skip
        self._stack.close()

    def __call__(self, event: Event) -> None:
        self._timeline(event)
        if event.name == "batch":
            hosts = event.data["hosts"]
            console.note(f"{event.detail}: {len(hosts)} host{'s' if len(hosts) != 1 else ''}")
        elif event.name == "stop":
            console.note(f"stopped: {event.detail}")
        elif event.status is not None and event.status.ended:
            self._ended(self._timeline.lines[event.host], event)

    def _ended(self, line: Line, event: Event) -> None:
        marks = {Status.OK: "ok", Status.CHANGED: "changed", Status.REVERTED: "skipped"}
        took = event.at - (line.began or event.at)
        detail = event.detail or _counted(event) or str(event.status)
        detail += f". {event.data['hint']}" if event.data.get("hint") else ""
        console.line(marks.get(line.status, "failed"), event.host, detail, took)

    def _table(self) -> RenderableType:
        lines = list(self._timeline.lines.values())
        active = [line for line in lines if not line.status.ended and line.spans]
        grid = Table(box=None, pad_edge=False, show_header=False, expand=True)
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True)
        # What there is to read gives way to what there is to see on a narrow terminal.
        grid.add_column(no_wrap=True, ratio=1, overflow="ellipsis")
        grid.add_column(no_wrap=True, justify="right")
        for line in active[:_LIVE_ROWS]:
            style = _STYLES.get(line.status, "")
            bar = ProgressBar(1.0, line.share, width=_BAR, pulse=not line.share)
            took = console.elapsed(time.time() - line.spans[0].begin)
            grid.add_row(Text(line.host), Text(str(line.status), style), bar, Text(line.doing, "dim"), Text(took, "cyan"))  # fmt: skip
        parts: list[RenderableType] = [grid]
        if len(active) > _LIVE_ROWS:
            parts.append(Text(f"and {len(active) - _LIVE_ROWS} more", "dim"))
        ended = sum(line.status.ended for line in lines)
        foot = Table.grid(padding=(0, 1))
        foot.add_row(ProgressBar(max(len(lines), 1), ended, width=30), Text(f"{ended} of {len(lines)} hosts"))  # fmt: skip
        return Group(*parts, foot)

    def recap(self) -> None:
        """What a person must know at the end: the counts, and each host that is not as it should be."""
        timeline = self._timeline
        failed = [line for line in timeline.lines.values() if line.failed]
        if failed:
            rows = [(line.host, str(line.status), line.problem) for line in failed]
            console.table(["HOST", "STATUS", "WHY"], rows)
        console.recap(self._name, _ends(timeline), timeline.ended - timeline.began)


def _ends(timeline: Timeline) -> dict[str, int]:
    """``ok changed failed unreachable``, and what else became of hosts.

    One that failed has failed though it was put back since then: it counts twice.
    """
    lines = timeline.lines.values()
    found = {str(each): sum(line.status is each for line in lines) for each in Status}
    found["failed"] = sum(line.failed and line.status is not Status.UNREACHABLE for line in lines)
    always = ("ok", "changed", "failed", "unreachable")
    rest = [name for name, count in found.items() if count and name not in always]
    return {name: found[name] for name in (*always, *rest)}


def _counted(event: Event) -> str:
    return " ".join(f"{name}={count}" for name, count in event.data.get("counts", {}).items())
