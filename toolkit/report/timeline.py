"""From events to what became of each host, and when: what every report is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    share: float = 0.0
    """How much of what is to be done is done, 0 to 1."""
    changes: list[str] = field(default_factory=list)
    """Resources that were (or would be) changed, and why each."""
    counts: Mapping[str, int] = field(default_factory=dict)
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
        if status in (Status.COMPARING, Status.CHANGING, Status.OK, Status.CHANGED):
            self.problem = ""  # an earlier part's
        if status.bad and detail:
            self.problem = self.problem or detail
        self.status, self.doing = status, ""
        self.share = float(status.ended and not status.bad)


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
        elif event.host:
            self._of(self._line(event.host), event)

    def _of(self, line: Line, event: Event) -> None:
        if event.status is not None:
            line.enter(event.status, event.at, event.detail)
            line.counts = event.data.get("counts", line.counts)
        elif event.name == "doing":
            line.doing = event.detail or line.doing
            line.share = event.data.get("share", line.share)
        elif event.name == "result" and event.data["result"] == "changed":
            said = ", ".join(": ".join((what, f"{old} -> {new}")) for what, old, new in event.data["changes"])  # fmt: skip
            line.changes.append(f"{event.data['id']}  {said}")
        elif event.name == "handler":
            line.changes.append(event.data["name"])

    def _line(self, host: str) -> Line:
        return self.lines.setdefault(host, Line(host))
