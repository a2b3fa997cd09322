"""What ``provision`` and ``plan`` show and leave behind: a live table or lines, ``--json``, JUnit, a page.

All of it is made from events (``toolkit/report/events.py``), which come in order from one thread.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

from toolkit import console
from toolkit.errors import HostUnreachable, PinnaceError
from toolkit.provision.converge import Outcome
from toolkit.provision.journal import RunJournal
from toolkit.report import html, junit
from toolkit.report.events import Event, Status
from toolkit.report.live import Shown
from toolkit.report.timeline import Timeline
from toolkit.report.together import Told
from toolkit.secrets.mask import masked

Say = Callable[[object], None]


@dataclass(frozen=True, slots=True)
class Output:
    """What was asked for: ``json`` on standard output instead of words; files, empty for none."""

    json: bool = False
    junit: str = ""
    html: str = ""


@dataclass(frozen=True, slots=True)
class Noted:
    """The journal of a run, which also tells ``say`` what is noted down."""

    journal: RunJournal
    say: Say

    def record(self, event: str, **content: Any) -> None:
        self.journal.record(event, **content)
        host, result = content.pop("host", ""), content.pop("status", "")
        data = {**content, "result": result} if result else content
        self.say(Event(time.time(), event, host, data=data))


class Follower:
    """Follows one command over ``hosts``; ``looking``: nothing is changed."""

    def __init__(self, command: str, hosts: Sequence[str], output: Output, *, looking: bool) -> None:  # fmt: skip
        self.timeline = Timeline()
        self._command = command
        self._output = output
        self._status = Status.COMPARING if looking else Status.CHANGING
        # Diffs are lines; and one host's steps say more than a table of one row.
        self._table = len(hosts) > 1 and console.err.is_terminal and not looking and not output.json
        self._shown: Shown | None = None
        self._began = time.monotonic()
        self._results: dict[str, Outcome | PinnaceError] = {}
        self._tell("begin", data={"command": command, "batches": [{"name": "", "hosts": list(hosts)}]})  # fmt: skip

    @property
    def lines(self) -> bool:
        """Whether what boards do is printed as it happens."""
        return not self._table and not self._output.json

    @contextmanager
    def working(self) -> Iterator[None]:
        """While hosts are at work; on a terminal their table is shown."""
        with Shown(name=self._command) if self._table else nullcontext() as shown:
            self._shown = shown
            if shown is not None:
                shown(Event(time.time(), "begin", data={"batches": [{"name": "", "hosts": list(self.timeline.lines)}]}))  # fmt: skip
            try:
                yield
            finally:
                self._shown = None

    def listening(self, say: Say) -> AbstractContextManager[None]:
        """In a host's thread: what it does is told, and printed where lines are."""
        say(self._status)
        return console.shared_with(say) if self.lines else console.told_to(say)

    def hear(self, told: Told) -> None:
        """A word of a host's thread, or its last one."""
        word = told.word
        if isinstance(word, Status):
            self._tell("host", told.host, word)
        elif isinstance(word, Event):
            self._event(word)
        elif isinstance(word, str):
            share = {"share": round(word.share, 3)} if isinstance(word, console.Doing) else {}
            self._tell("doing", told.host, detail=word.removeprefix(f"{told.host}: "), data=share)
        if told.last or told.problem is not None:
            self.ended(told.host, told.problem or told.result)

    def ended(self, host: str, result: object) -> None:
        """How a host ended, for now: it may be verified after that."""
        assert isinstance(result, Outcome | PinnaceError)
        again = host in self._results
        self._results[host] = result
        if isinstance(result, PinnaceError):
            status = Status.UNREACHABLE if isinstance(result, HostUnreachable) else Status.FAILED
            self._event(Event.ended(host, status, result))
            if not self._output.json and not again and not self._table:
                console.error(result)
        else:
            status = Status.CHANGED if result.changed else Status.OK
            self._tell("host", host, status, data={"counts": counts(result)})

    def verifying(self, host: str) -> None:
        self._tell("host", host, Status.VERIFYING)

    def check(self, host: str, case: Mapping[str, Any]) -> None:
        """One test of a board that was verified."""
        self._tell("check", host, data=case)

    def recap(self) -> None:
        """The counts of each host, where a line for each was not shown."""
        for line in self.timeline.lines.values():
            result = self._results.get(line.host)
            if result is not None and not self._output.json:
                took = (line.ended or 0) - (line.began or line.ended or 0)
                console.recap(line.host, counts(result), took)

    def close(self, status: int) -> None:
        """The command ends with this exit status."""
        found = [line.status for line in self.timeline.lines.values()]
        wanted = (Status.OK, Status.CHANGED, Status.FAILED, Status.UNREACHABLE)
        hosts = {str(each): found.count(each) for each in wanted}
        self._tell("end", data={"status": status, "counts": hosts})
        if len(found) > 1 and not self._output.json:
            console.recap(f"{len(found)} hosts", hosts, time.monotonic() - self._began)

    def write(self, suites: Sequence[Path]) -> None:
        """The reports; ``suites`` are JUnit files of the boards' own tests."""
        title = f"{self._command} {time.strftime('%Y-%m-%d %H:%M')}"
        if self._output.html:
            html.write(Path(self._output.html), self.timeline, title)
        if self._output.junit:
            path = Path(self._output.junit)
            junit.write(path, self.timeline, self._command)
            _merge(path, suites)

    def _tell(self, name: str, host: str = "", status: Status | None = None, detail: str = "", data: Mapping[str, Any] | None = None) -> None:  # fmt: skip
        self._event(Event(time.time(), name, host, status, detail, data or {}))

    def _event(self, event: Event) -> None:
        self.timeline(event)
        if self._shown is not None:
            self._shown(event)
        if self._output.json:
            sys.stdout.write(json.dumps(event.wire()) + "\n")
            sys.stdout.flush()


def counts(result: Outcome | PinnaceError) -> dict[str, int]:
    """``ok changed failed unreachable`` of one host; a host that failed has one failure."""
    found = {"ok": 0, "changed": 0, "failed": 0, "unreachable": 0}
    if isinstance(result, Outcome):
        return {**found, **result.counts}
    return {**found, "unreachable" if isinstance(result, HostUnreachable) else "failed": 1}


def _merge(path: Path, suites: Sequence[Path]) -> None:
    """Put the suites of ``suites`` behind those in ``path``, without secrets: a test may show what it found."""
    tree = Xml.parse(path)  # noqa: S314 - our own files
    for suite in suites:
        if suite.exists():
            root = Xml.fromstring(masked(suite.read_text(encoding="utf-8")))  # noqa: S314
            tree.getroot().extend([root] if root.tag == "testsuite" else list(root))
    tree.write(path, encoding="utf-8", xml_declaration=True)
