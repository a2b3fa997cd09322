"""The restart monitor: containers whose labels ask for it run again after they have ended, and after a reboot.

The labels are those of containerd's monitor (docs of ``runtime/restart`` there); ``containerd.io/restart.status`` makes a container
a monitored one. A container that has ended is started at once, then after waits that double with every end; one that ran for ten
seconds begins anew. What has no task (after a reboot; or its client removed it) is looked at every ``interval`` seconds.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from pinnace.daemon import bundle
from pinnace.daemon.task import STOPPED, Stdio
from pinnace.errors import Error, InvalidArgument, NotFound, ResourceExhausted, described

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pinnace.daemon.catalog import Catalog
    from pinnace.daemon.events import Event, Exchange, Subscription
    from pinnace.daemon.log import Log
    from pinnace.daemon.runtimes import Runtime
    from pinnace.daemon.task import ProcessState
    from pinnace.daemon.tasks import Tasks
    from pinnace.store.containers import Container
    from pinnace.store.records import TypedValue
    from pinnace.store.store import Store

_PREFIX = "containerd.io/restart."
STATUS, POLICY, COUNT, LOG_URI = (
    f"{_PREFIX}{name}" for name in ("status", "policy", "count", "loguri")
)
EXPLICITLY_STOPPED = f"{_PREFIX}explicitly-stopped"
FIRST_WAIT, LONGEST_WAIT = 0.1, 60.0
GOOD_RUN_SECONDS = 10.0
"""Seconds, all three; Docker's."""
_KILL_SECONDS = 10.0
_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_EVENTS = ('topic~="^/containers/"', 'topic=="/tasks/exit"')


class Policy(NamedTuple):
    """When a container that has ended is started again; ``retries`` is 0 for no limit."""

    name: str
    retries: int = 0

    @classmethod
    def parse(cls, text: str) -> Policy:
        """``always`` (also for no text), ``unless-stopped``, ``on-failure[:n]``, ``no``; raises InvalidArgument."""
        name, colon, retries = text.partition(":")
        if name not in ("", "always", "unless-stopped", "on-failure", "no") or (
            colon and name != "on-failure"
        ):
            raise InvalidArgument(f"restart policy {text!r} not supported")
        if colon and not retries.isdecimal():
            raise InvalidArgument(
                f"maximum retry count of restart policy {text!r} must be a number"
            )
        return cls(name or "always", int(retries or 0))

    def wants(self, labels: Mapping[str, str], exit_status: int) -> bool:
        """Whether one with these labels that ended so (0: or that was never seen) is started."""
        if self.name == "on-failure":
            return exit_status != 0 and (not self.retries or count(labels) < self.retries)
        if self.name == "unless-stopped":
            return labels.get(EXPLICITLY_STOPPED) not in _TRUE
        return self.name == "always"


def count(labels: Mapping[str, str]) -> int:
    """How often it was started again; what is no number counts as 0."""
    text = labels.get(COUNT, "")
    return int(text) if text.isdecimal() else 0


class _Turn:
    """When a container may be started next, and how long it waits after that."""

    __slots__ = ("due", "started", "wait")

    def __init__(self) -> None:
        self.wait = FIRST_WAIT
        self.started = 0.0
        self.due = 0.0

    def ended(self, now: float) -> float:
        """It is not running any more; when it is due again."""
        if self.started and now - self.started >= GOOD_RUN_SECONDS:
            self.wait = FIRST_WAIT
        self.due = now + self.wait
        self.wait = min(2 * self.wait, LONGEST_WAIT)
        return self.due


class Monitor:
    """Watches all namespaces from a thread of its own. ``interval`` is in seconds."""

    def __init__(
        self, store: Store, catalog: Catalog, tasks: Tasks, events: Exchange, log: Log, interval: float,
        runtime: Callable[[str, TypedValue | None], Runtime],
    ) -> None:  # fmt: skip
        """``runtime`` finds what runs a container, by its record's name and options."""
        self._store = store
        self._catalog = catalog
        self._tasks = tasks
        self._events = events
        self._log = log
        self._interval = interval
        self._runtime = runtime
        self._turns: dict[tuple[str, str], _Turn] = {}
        self._subscription: Subscription | None = None
        self._stopping = False
        self._first_look = True
        self._thread = threading.Thread(target=self._run, name="restart", daemon=True)

    def start(self) -> None:
        self._subscription = self._events.subscribe(_EVENTS)
        self._thread.start()

    def stop(self) -> None:
        """Start no more; those that run go on."""
        self._stopping = True
        if self._subscription is not None:
            self._subscription.close()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            now = time.monotonic()
            try:
                waits = self.look(now)
            except (Error, OSError, RuntimeError) as problem:
                self._log.error(f"looking at the containers to restart: {described(problem)}")
                waits = self._interval
            self._listen(now + waits if waits is not None else None)

    def look(self, now: float) -> float | None:
        """Bring every monitored container where its labels want it; seconds until the next look, or ``None``."""
        monitored = False
        next_look = now + self._interval
        for namespace in self._store.namespaces.list():
            for container in self._store.containers.list(namespace, (f'labels."{STATUS}"',)):
                monitored = True
                if self._stopping:
                    return None
                try:
                    due = self._attend(namespace, container, now)
                except (Error, OSError, RuntimeError) as problem:
                    self._log.error(f"restarting {namespace}/{container.id}: {described(problem)}")
                    due = self._turn(namespace, container.id).ended(now)
                next_look = min(next_look, due or next_look)
        self._first_look = False
        return max(0.0, next_look - now) if monitored else None

    def _attend(self, namespace: str, container: Container, now: float) -> float | None:
        """Start or stop one container if it should be; when it is due, if that is later."""
        state = self._state(namespace, container.id)
        wanted = container.labels[STATUS]
        if wanted == "stopped":
            if state is not None and state.status != STOPPED:
                self._end(namespace, container.id)
            return None
        if wanted != "running" or (state is not None and state.status != STOPPED):
            return None
        policy = Policy.parse(container.labels.get(POLICY, ""))
        if not policy.wants(container.labels, state.exit_status if state is not None else 0):
            return None
        turn = self._turn(namespace, container.id)
        if state is None and not turn.due and not self._first_look:
            turn.due = now + self._interval  # its client may be about to start it
        if turn.due > now:
            return turn.due
        turn.started = now
        turn.due = 0.0
        self._restart(namespace, container, state)
        return None

    def _turn(self, namespace: str, identifier: str) -> _Turn:
        return self._turns.setdefault((namespace, identifier), _Turn())

    def _state(self, namespace: str, identifier: str) -> ProcessState | None:
        try:
            return self._tasks.find(namespace, identifier).process()
        except NotFound:
            return None

    def _restart(self, namespace: str, container: Container, state: ProcessState | None) -> None:
        labels = container.labels
        times = count(labels) + 1
        self._log.info(f"starting {namespace}/{container.id} again, for the {times}. time")
        if state is not None:
            self._tasks.delete(namespace, container.id)
        changed = container._replace(labels={**labels, COUNT: str(times)})
        self._catalog.update_container(namespace, changed, (f"labels.{COUNT}",))
        if container.spec is None:
            raise InvalidArgument("it has no runtime spec")
        log = labels.get(LOG_URI, "")
        process = bundle.parse_json(container.spec.value, "runtime spec").get("process")
        terminal = isinstance(process, dict) and bool(process.get("terminal"))
        mounts = self._store.snapshotter(container.snapshotter).mounts(namespace, container.snapshot_key) if container.snapshot_key else []  # fmt: skip
        stdio = Stdio("", log, "" if terminal else log, terminal)
        runtime = self._runtime(container.runtime_name, container.runtime_options)
        self._tasks.create(
            namespace, container.id, container.spec.value, mounts, stdio, {}, runtime
        )
        try:
            self._tasks.start(namespace, container.id)
        except Error:
            self._tasks.delete(namespace, container.id)
            raise

    def _end(self, namespace: str, identifier: str) -> None:
        self._log.info(f"stopping {namespace}/{identifier}, as its labels say")
        self._tasks.kill(namespace, identifier, "", 9, everyone=True)
        task = self._tasks.find(namespace, identifier)
        try:
            task.wait("", lambda: self._stopping, _KILL_SECONDS)
        except TimeoutError:
            return  # the next look finds it
        self._tasks.delete(namespace, identifier)

    # --- what happens meanwhile --------------------------------------------------------------

    def _listen(self, until: float | None) -> None:
        """Take events until that time, or until one says that something may have to be done."""
        assert self._subscription is not None
        while not self._stopping:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return
            try:
                event = self._subscription.next(left)
            except ResourceExhausted:
                # More than could be kept has happened: a new look shows what matters.
                self._subscription = self._events.subscribe(_EVENTS)
                return
            if event is not None and self._matters(event, until is not None):
                return

    def _matters(self, event: Event, monitoring: bool) -> bool:
        key = (event.namespace, str(event.fields.get("id") or event.fields.get("container_id")))
        if event.topic == "/tasks/exit":
            if monitoring and event.fields.get("id") == event.fields.get("container_id"):
                self._turn(*key).ended(time.monotonic())
                return True
        elif event.topic == "/containers/delete":
            self._turns.pop(key, None)
        else:
            # A new one is its client's to start; the next look is after the interval.
            return event.topic == "/containers/update" or not monitoring
        return False
