"""A rollout: batch after batch, stopped when too many hosts fail, what failed put back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from toolkit.console import Doing
from toolkit.errors import HostFailed, HostUnreachable, PinnaceError
from toolkit.provision.health import Health
from toolkit.report.events import Event, Sink, Status
from toolkit.report.together import Told, together
from toolkit.rollout.batches import Batch
from toolkit.rollout.model import Applied, Fleet, Revert, Rules

_INTERVAL = 2.0
"""Seconds between two looks at a host's health."""


Verify = Callable[[str], PinnaceError | None]


class Rollout:
    """One run over a fleet; ``sink`` is told every event, in order, from the calling thread."""

    def __init__(
        self,
        rules: Rules,
        fleet: Fleet,
        sink: Sink,
        done: Mapping[str, Status] | None = None,
        verify: Verify | None = None,
    ) -> None:
        """``done``: hosts that an earlier run finished; they are not touched again.

        ``verify``: says what is wrong with a host that is healthy, after its batch has changed.
        """
        self._verify = verify
        self._rules = rules
        self._fleet = fleet
        self._sink = sink
        self.status: dict[str, Status] = {
            host: (done or {}).get(host, Status.WAITING)
            for batch in rules.batches
            for host in batch.hosts
        }
        self.failed: set[str] = set()
        """Hosts that failed or could not be reached, put back since then or not."""
        self.stopped = False

    def run(self) -> None:
        """Do it all. What became of each host is in :attr:`status`."""
        batches = [{"name": each.name, "hosts": list(each.hosts)} for each in self._rules.batches]
        self._tell("begin", data={"batches": batches})
        changed = False  # the pause is between two batches that do something
        for batch in self._rules.batches:
            hosts = [host for host in batch.hosts if not self.status[host].ended]
            if not hosts:
                continue
            if changed and self._rules.pause:
                time.sleep(self._rules.pause)
            changed = True
            self._tell("batch", detail=batch.name, data={"hosts": hosts})
            self._change(hosts)
            if len(self.failed) > self._rules.max_fail.of(len(self.status)):
                self._stop(batch)
                break
        self._tell("end", data={"stopped": self.stopped, "counts": self.counts()})

    def counts(self) -> dict[str, int]:
        """Hosts by status, in the order of :class:`Status`; those with none are left out."""
        found = list(self.status.values())
        return {str(each): found.count(each) for each in Status if each in found}

    def _change(self, hosts: Iterable[str]) -> None:
        limit = self._rules.host_limit + self._rules.health_time + self._rules.health_limit
        failed: list[str] = []
        well: dict[str, Applied] = {}
        for told in self._together(hosts, self._change_one, limit):
            if told.problem is not None:
                self.failed.add(told.host)
                unreachable = isinstance(told.problem, HostUnreachable)
                self._ended(told, Status.UNREACHABLE if unreachable else Status.FAILED)
                failed.append(told.host)
            elif isinstance(told.result, Applied):
                well[told.host] = told.result
                if self._verify is None:
                    self._well(told.host, told.result)
        if self._verify is not None:
            failed += self._verified(well, self._verify)
        if self._rules.revert is not Revert.NOTHING:
            self._revert(failed)

    def _well(self, host: str, applied: Applied) -> None:
        status = Status.CHANGED if applied.changed else Status.OK
        self._is(host, status, data={"counts": dict(applied.counts), "run": applied.run})

    def _verified(self, hosts: Mapping[str, Applied], verify: Verify) -> list[str]:
        """Verify hosts, one after the other; those that failed."""
        failed = []
        for host, applied in hosts.items():
            self._is(host, Status.VERIFYING)
            problem = verify(host)
            if problem is None:
                self._well(host, applied)
            else:
                self.failed.add(host)
                failed.append(host)
                self._ended(Told(host, problem=problem), Status.FAILED)
        return failed

    def _change_one(self, host: str, say: Callable[[object], None]) -> Applied:
        say(Status.CHANGING)
        applied = self._fleet.apply(host, say)
        if applied.changed:
            say(Status.WATCHING)
            self._watch(host, applied.before)
        return applied

    def _watch(self, host: str, before: Health) -> None:
        """Return once the host was healthy for the whole health time; raise when it never is."""
        rules = self._rules
        deadline = time.monotonic() + rules.health_time + rules.health_limit
        since: float | None = None
        while True:
            problem = self._problem(host, before)
            now = time.monotonic()
            since = None if problem else (since or now)
            if since is not None and now - since >= rules.health_time:
                return
            if now >= deadline:
                raise HostFailed(f"{host}: not healthy: {problem or 'only for a moment'}")
            time.sleep(min(_INTERVAL, max(rules.health_time / 4, 0.05)))

    def _problem(self, host: str, before: Health) -> str:
        try:
            return before.problem_after(self._fleet.probe(host))
        except PinnaceError as problem:
            return problem.message

    def _stop(self, batch: Batch) -> None:
        self.stopped = True
        limit = self._rules.max_fail
        failed = ", ".join(sorted(self.failed))
        self._tell("stop", detail=f"{len(self.failed)} failed, --max-fail is {limit}: {failed}")
        if self._rules.revert is Revert.BATCH:
            self._revert(batch.hosts)
        elif self._rules.revert is Revert.ALL:
            self._revert(self.status)

    def _revert(self, hosts: Iterable[str]) -> None:
        """Put back the hosts among these that this run changed, or may have changed."""
        touched = [host for host in hosts if self.status[host] in (Status.CHANGED, Status.FAILED)]
        for told in self._together(touched, self._revert_one, self._rules.host_limit):
            if told.problem is not None:
                self._ended(told, Status.STUCK)
            elif told.last:
                self._is(told.host, Status.REVERTED)

    def _revert_one(self, host: str, say: Callable[[object], None]) -> None:
        say(Status.REVERTING)
        self._fleet.revert(host, say)

    def _together(
        self, hosts: Iterable[str], work: Callable[[str, Callable[[object], None]], object], limit: float
    ) -> Iterable[Told]:  # fmt: skip
        for told in together(
            hosts, work, parallel=self._rules.parallel, limit=limit, abandon=self._fleet.abandon
        ):
            if isinstance(told.word, Status):
                self._is(told.host, told.word)
            elif told.word is not None:
                share = {"share": round(told.word.share, 3)} if isinstance(told.word, Doing) else {}
                self._tell("doing", told.host, detail=str(told.word), data=share)
            else:
                yield told

    def _ended(self, told: Told, status: Status) -> None:
        assert told.problem is not None
        self.status[told.host] = status
        self._sink(Event.ended(told.host, status, told.problem))

    def _is(self, host: str, status: Status, data: Mapping[str, Any] | None = None) -> None:
        self.status[host] = status
        self._sink(Event(time.time(), "host", host, status, data=data or {}))

    def _tell(
        self, name: str, host: str = "", detail: str = "", data: Mapping[str, Any] | None = None
    ) -> None:
        self._sink(Event(time.time(), name, host, None, detail, data or {}))
