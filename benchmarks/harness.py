"""What every benchmark shares: interleaved runs, medians, ratios, and how results are shown.

Ours and the peer's runs alternate within one measurement, after a warm-up that does not count, so that
whatever else the machine does meets both alike. A ratio below 1 means that ours is smaller or faster.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chart import bar_chart
from toolkit import console


@dataclass(frozen=True, slots=True)
class Result:
    """One measurement: medians of ours and of the peer's, in ``unit``.

    Attributes:
        peer: program and version measured beside ours; empty where nothing else does the same.
        theirs: ``None`` without a peer.
    """

    name: str
    peer: str
    ours: float
    theirs: float | None
    unit: str

    @property
    def ratio(self) -> float | None:
        if self.theirs is None:
            return None
        if not self.theirs:
            return float("inf") if self.ours else 1.0
        return self.ours / self.theirs

    def as_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "peer": self.peer,
            "ours": round(self.ours, 3),
            "theirs": _rounded(self.theirs),
            "unit": self.unit,
            "ratio": _rounded(self.ratio),
        }


def _rounded(value: float | None) -> float | None:
    """Nothing for what JSON has no number for, either."""
    return None if value is None or not math.isfinite(value) else round(value, 3)


def interleaved(
    ours: Callable[[], float], theirs: Callable[[], float], *, rounds: int, warm_up: int
) -> tuple[list[float], list[float]]:
    """Measure both in turn, ``rounds`` times after ``warm_up`` rounds that are thrown away.

    Each call measures once and returns the value. Which of both goes first alternates, too.
    """
    measured: tuple[list[float], list[float]] = ([], [])
    for number in range(warm_up + rounds):
        order = ((0, ours), (1, theirs)) if number % 2 == 0 else ((1, theirs), (0, ours))
        for side, measure in order:
            value = measure()
            if number >= warm_up:
                measured[side].append(value)
    return measured


def median(values: Sequence[float]) -> float:
    """The middle of the values; raises :class:`ValueError` when there are none."""
    if not values:
        raise ValueError("nothing was measured")
    return statistics.median(values)


def as_json(results: Sequence[Result]) -> str:
    return json.dumps({"benchmarks": [result.as_json() for result in results]}, indent=2)


def show(results: Sequence[Result]) -> None:
    """Print the results as a table."""
    rows = [
        (
            result.name,
            result.peer,
            f"{result.ours:.2f} {result.unit}",
            "" if result.theirs is None else f"{result.theirs:.2f} {result.unit}",
            "" if result.ratio is None else f"{result.ratio:.2f}",
        )
        for result in results
    ]
    console.table(["benchmark", "peer", "ours", "theirs", "ratio"], rows)


def plot(results: Sequence[Result], path: Path, title: str) -> None:
    """Write the results as a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    groups = [
        (f"{result.name} ({result.unit})", result.ours, result.theirs, result.peer)
        for result in results
        if result.theirs is not None
    ]
    path.write_text(bar_chart(groups, title), encoding="utf-8")
