"""One task: a container's shim, the processes in it, and who waits for them.

What the shim reports is kept here, so that questions are answered without asking it, and so that
an exit is announced once, after the start that it belongs to, and before any waiter hears of it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from pinnace.errors import AlreadyExists, Error, FailedPrecondition, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pinnace.daemon.backends import Backend
    from pinnace.daemon.events import Exchange
    from pinnace.daemon.shims import Shim

CREATED, RUNNING, STOPPED, PAUSED = "created", "running", "stopped", "paused"
LOST_STATUS = 137
"""Exit status of a process whose shim was killed: as if by SIGKILL, which took the rest, too."""


class Stdio(NamedTuple):
    """Where a process's streams are: FIFO paths or log URIs, empty for nowhere."""

    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    terminal: bool = False


class ProcessState(NamedTuple):
    """A process as clients see it; the time is in nanoseconds since the epoch, 0 for not yet."""

    exec_id: str
    pid: int
    status: str
    stdio: Stdio
    exit_status: int = 0
    exited_at: int = 0


class Task:
    """A running container. Its public methods may be called from any thread."""

    def __init__(
        self, namespace: str, identifier: str, bundle: str, events: Exchange, backend: Backend
    ) -> None:
        self.namespace = namespace
        self.id = identifier
        self.bundle = bundle
        self.backend = backend
        self._events = events
        self._changed = threading.Condition()
        self._processes: dict[str, ProcessState] = {}
        self._starting: set[str] = set()
        self._early: dict[str, ProcessState] = {}
        self._shim: Shim | None = None
        self.deleted = False
        self.ending = False
        """The shim was asked to end: that its connection closes is no loss."""
        self.released = False
        """It has said that it ends, and closes the connection itself when everything of the container is gone."""
        self.cleaned = False
        """The container was removed: nothing is left of it."""

    @property
    def shim(self) -> Shim:
        """The connection to the shim; raises NotFound when the shim is gone."""
        if self._shim is None:
            raise NotFound(f"task {self.id} not found")
        return self._shim

    def attach(self, shim: Shim) -> None:
        self._shim = shim

    def is_lost(self) -> bool:
        """Whether the shim is gone."""
        return self._shim is None

    def detach(self) -> None:
        """Let go of the shim, which goes on."""
        shim, self._shim = self._shim, None
        if shim is not None:
            shim.close()

    def stop_shim(self) -> None:
        """Ask the shim to end; it may be gone already."""
        self.ending = True
        if self._shim is not None and not self.released:
            with contextlib.suppress(Error):
                self._shim.call("shutdown")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask the shim; raises what it answers, Unavailable when it is gone."""
        return self.shim.call(method, **params)

    # --- processes ---------------------------------------------------------------------------

    def add(self, state: ProcessState) -> None:
        """Know of a process; raises AlreadyExists."""
        with self._changed:
            if state.exec_id in self._processes:
                raise AlreadyExists(f"id {state.exec_id}: already exists")
            self._processes[state.exec_id] = state

    def forget(self, exec_id: str) -> None:
        """A process that was deleted; those who wait for it get what is known."""
        with self._changed:
            self._processes.pop(exec_id, None)
            self._changed.notify_all()

    def process(self, exec_id: str = "") -> ProcessState:
        """What is known of a process; raises NotFound."""
        found = self._processes.get(exec_id)
        if found is None:
            raise NotFound(f"process does not exist {exec_id or self.id}")
        return found

    def processes(self) -> list[ProcessState]:
        return list(self._processes.values())

    def created(self, pid: int) -> None:
        """The container's first process exists now, and waits to be started."""
        with self._changed:
            self._processes[""] = self.process()._replace(pid=pid)

    def start(self, exec_id: str, begin: Callable[[], int]) -> int:
        """Run ``begin``, which starts the process and gives its pid, and announce the start.

        An exit that is reported meanwhile is announced after it.
        """
        with self._changed:
            state = self.process(exec_id)
            if state.status != CREATED or exec_id in self._starting:
                raise FailedPrecondition(f"cannot start a {state.status} process")
            self._starting.add(exec_id)
        pid = 0
        try:
            pid = begin()
        finally:
            with self._changed:
                self._starting.discard(exec_id)
                early = self._early.pop(exec_id, None)
                if pid:
                    self._processes[exec_id] = state._replace(pid=pid, status=RUNNING)
                    self._announce_start(exec_id, pid)
                if early is not None:
                    self._end(early._replace(pid=pid or early.pid))
        return pid

    def _announce_start(self, exec_id: str, pid: int) -> None:
        if exec_id:
            self._publish("exec-started", exec_id=exec_id, pid=pid)
        else:
            self._publish("start", pid=pid)

    def set_paused(self, paused: bool) -> None:
        with self._changed:
            state = self.process()
            if state.status in (RUNNING, PAUSED):
                self._processes[""] = state._replace(status=PAUSED if paused else RUNNING)
        self._publish("paused" if paused else "resumed")

    def wait(
        self, exec_id: str, stopped: Callable[[], bool], timeout: float | None
    ) -> ProcessState:
        """The process once it has ended. Raises NotFound, and TimeoutError when told to stop."""
        end = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            last = self.process(exec_id)
            while last.status != STOPPED and not self.deleted:
                left = None if end is None else end - time.monotonic()
                if stopped() or (left is not None and left <= 0):
                    raise TimeoutError
                self._changed.wait(left)
                last = self._processes.get(exec_id) or last
                if exec_id not in self._processes:
                    break
            return last

    def wake(self) -> None:
        """Let those who wait look whether they still should."""
        with self._changed:
            self._changed.notify_all()

    # --- what the shim tells -----------------------------------------------------------------

    def on_event(self, event: Mapping[str, Any]) -> None:
        """An event of the shim; called from the connection's thread, so it must not wait."""
        kind = event["event"]
        if kind == "exit":
            self.ended(
                str(event.get("exec_id") or ""),
                int(event.get("pid") or 0),
                int(event["status"]),
                int(event["exited_at"]),
            )
        elif kind == "oom":
            self._publish("oom")

    def ended(self, exec_id: str, pid: int, status: int, exited_at: int) -> None:
        """A process has ended; told twice, it counts once."""
        with self._changed:
            state = self._processes.get(exec_id)
            if state is None or state.status == STOPPED:
                return
            state = state._replace(
                pid=state.pid or pid, status=STOPPED, exit_status=status, exited_at=exited_at
            )
            if exec_id in self._starting:
                self._early[exec_id] = state
            else:
                self._end(state)

    def _end(self, state: ProcessState) -> None:
        self._processes[state.exec_id] = state
        self._publish(
            "exit",
            id=state.exec_id or self.id,
            pid=state.pid,
            exit_status=state.exit_status,
            exited_at=state.exited_at,
        )
        self._changed.notify_all()

    def lost(self) -> None:
        """The shim was killed, and with it (by the kernel, or soon) all its processes."""
        now = time.time_ns()
        for state in self.processes():
            self.ended(state.exec_id, state.pid, LOST_STATUS, now)
        self._shim = None

    def restore(self, status: str, recorded: Mapping[str, Any]) -> None:
        """What is known of the container's process without its shim: ``recorded`` as in ``exit.json``."""
        with self._changed:
            self._processes = {
                "": ProcessState(
                    "",
                    int(recorded.get("pid") or 0),
                    status,
                    Stdio(),
                    int(recorded.get("status") or 0),
                    int(recorded.get("exited_at") or 0),
                )
            }

    def finish(self) -> None:
        """The task was deleted."""
        with self._changed:
            self.deleted = True
            self._changed.notify_all()
        if self.released:
            self._shim = None
        self.detach()

    def _publish(self, what: str, **fields: object) -> None:
        self._events.publish(self.namespace, f"/tasks/{what}", container_id=self.id, **fields)
