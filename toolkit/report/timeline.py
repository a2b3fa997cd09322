"""From events to what became of each host, and when: what every report is made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from toolkit.report.events import Event, Status


@dataclass(slots=True)
class Span:
    """A time (seconds since 1970) that a host spent in one status; ``end`` is ``None`` while it is."""

    status: Status
    begin: float
    end: float | None = None


@dataclass(slots=True)
class Line:
    """One host: where it is, what it is doing, why it failed, and what it did before.

    ``began`` and ``ended`` (seconds since 1970) are those of its whole turn.
    """

    host: str
    batch: str = ""
    status: Status = Status.WAITING
    doing: str = ""
    problem: str = ""
    spans: list[Span] = field(default_factory=list)

    @property
    def began(self) -> float | None:
        return self.spans[0].begin if self.spans else None

    @property
    def ended(self) -> float | None:
        return self.spans[-1].end if self.spans else None

    @property
    def failed(self) -> bool:
        """Whether something went wrong, put back since then or not."""
        return bool(self.problem)

    def enter(self, status: Status, at: float, detail: str) -> None:
        """The host is in ``status`` from ``at`` on."""
        if self.spans and self.spans[-1].end is None:
            self.spans[-1].end = at
        if not status.ended:
            self.spans.append(Span(status, at))
        if status in (Status.CHANGING, Status.OK, Status.CHANGED):
            self.problem = ""  # an earlier part's
        if status.bad and detail:
            self.problem = self.problem or detail
        self.status, self.doing = status, ""


class Timeline:
    """Follows events; ``lines`` has every host of the rollout, in the order of their turns."""

    def __init__(self) -> None:
        self.lines: dict[str, Line] = {}
        self.began = self.ended = 0.0
        self.stopped = ""
        """Why the rollout was stopped; empty when it was not."""

    def follow(self, events: Iterable[Event]) -> Timeline:
        """Take in events that were recorded."""
        for event in events:
            self(event)
        return self

    def __call__(self, event: Event) -> None:
        self.began = self.began or event.at
        self.ended = max(self.ended, event.at)
        if event.name == "begin":
            self.stopped = ""  # what was stopped goes on
            for batch in event.data["batches"]:
                for host in batch["hosts"]:
                    self._line(host).batch = batch["name"]
        elif event.name == "stop":
            self.stopped = event.detail
        elif event.host and event.status is not None:
            self._line(event.host).enter(event.status, event.at, event.detail)
        elif event.host:
            self._line(event.host).doing = event.detail

    def _line(self, host: str) -> Line:
        return self.lines.setdefault(host, Line(host))
