"""A command over hosts as one HTML file that needs nothing else: a line with its timeline for every host."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jinja2

from toolkit.console import elapsed
from toolkit.report.events import Status
from toolkit.report.timeline import Line, Timeline


@dataclass(frozen=True, slots=True)
class _Bar:
    """A span on the time axis; ``left`` and ``width`` are percentages of the whole time."""

    kind: str
    left: float
    width: float
    text: str


def write(path: Path, timeline: Timeline, title: str) -> None:
    """Write the report to ``path``. What hosts said is escaped: it may be anything."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    lines = list(timeline.lines.values())
    counts = {each: sum(line.status is each for line in lines) for each in Status}
    text = environment.get_template("report.html.j2").render(
        title=title,
        began=time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(timeline.began)),
        took=elapsed(timeline.ended - timeline.began),
        stopped=timeline.stopped,
        batches=any(line.batch for line in lines),
        legend=[
            str(each)
            for each in Status
            if any(span.status is each for line in lines for span in line.spans)
        ],
        counts={str(each): count for each, count in counts.items() if count},
        lines=[(line, list(_bars(line, timeline)), _took(line)) for line in lines],
        marks=[elapsed((timeline.ended - timeline.began) * part / 4) for part in range(5)],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _took(line: Line) -> str:
    return elapsed(line.ended - line.began) if line.began and line.ended else ""


def _bars(line: Line, timeline: Timeline) -> Iterator[_Bar]:
    whole = max(timeline.ended - timeline.began, 0.001)
    for span in line.spans:
        end = timeline.ended if span.end is None else span.end
        left = 100 * (span.begin - timeline.began) / whole
        text = f"{span.status} {elapsed(end - span.begin)}"
        yield _Bar(
            str(span.status), round(left, 3), round(100 * (end - span.begin) / whole, 3), text
        )
