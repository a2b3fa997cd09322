"""Tasks: starting shims, finding them again, and everything one asks of a running container.

A shim is a process of its own that outlives the daemon. For each task there is a bundle directory,
``<state>/io.containerd.runtime.v2.task/<namespace>/<id>``, with ``config.json``, the root
directory, and ``address``, which names the shim's socket; from these a new daemon finds its tasks.
The shim's own directory has a short name, because a socket's path has 107 bytes at most.
"""

from __future__ import annotations

import hashlib
import os
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from pinnace.daemon import bundle, orphans
from pinnace.daemon.task import CREATED, RUNNING, STOPPED, ProcessState, Stdio, Task
from pinnace.errors import AlreadyExists, DeadlineExceeded, Error, FailedPrecondition, NotFound
from pinnace.keeper import leftovers, protocol
from pinnace.store.records import check_identifier

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pinnace.daemon.events import Exchange
    from pinnace.daemon.log import Log
    from pinnace.daemon.shims import Shims
    from pinnace.linux.mount import Mount


class Exit(NamedTuple):
    """How a process ended; the time is in nanoseconds since the epoch."""

    id: str
    pid: int
    status: int
    exited_at: int


class Tasks:
    """All tasks of all namespaces."""

    def __init__(self, root: str, shims: Shims, events: Exchange, log: Log) -> None:
        self._root = root
        self._states = os.path.join(os.path.dirname(root), "s")
        self._shims = shims
        self._events = events
        self._log = log
        self._lock = threading.Lock()
        self._tasks: dict[tuple[str, str], Task] = {}
        for directory in (self._root, self._states):
            os.makedirs(directory, mode=0o711, exist_ok=True)

    # --- finding -----------------------------------------------------------------------------

    def find(self, namespace: str, identifier: str) -> Task:
        """The task; raises NotFound."""
        task = self._tasks.get((namespace, identifier))
        if task is None:
            raise NotFound(f"task {identifier} not found")
        return task

    def list(self, namespace: str) -> list[Task]:
        """The tasks of a namespace, ordered by id."""
        with self._lock:
            found = [task for (where, _), task in self._tasks.items() if where == namespace]
        return sorted(found, key=lambda task: task.id)

    # --- the life of a task ------------------------------------------------------------------

    def create(
        self,
        namespace: str,
        identifier: str,
        spec: bytes,
        rootfs: Sequence[Mount],
        stdio: Stdio,
        options: Mapping[str, Any],
    ) -> int:
        """Start a shim and let it create the container; the pid of its first process.

        Raises AlreadyExists, InvalidArgument, and what the shim says. Nothing is left on failure.
        """
        check_identifier(namespace)
        check_identifier(identifier)
        task = Task(namespace, identifier, self._bundle(namespace, identifier), self._events)
        with self._lock:
            if (namespace, identifier) in self._tasks:
                raise AlreadyExists(f"task {identifier}: already exists")
            self._tasks[namespace, identifier] = task
        try:
            pid = self._create(task, spec, rootfs, stdio, options)
        except BaseException:
            self._discard(task)
            raise
        self._events.publish(
            namespace,
            "/tasks/create",
            container_id=identifier,
            bundle=task.bundle,
            rootfs=tuple(rootfs),
            io=stdio._asdict(),
            pid=pid,
        )
        return pid

    def _create(
        self,
        task: Task,
        spec: bytes,
        rootfs: Sequence[Mount],
        stdio: Stdio,
        options: Mapping[str, Any],
    ) -> int:
        bundle.make(task.bundle, spec)
        state = self._shim_directory(task)
        address = self._start_shim(task, state)
        bundle.write(task.bundle, "address", address.encode())
        self._connect(task, address)
        task.add(ProcessState("", 0, CREATED, stdio))
        result = task.call(
            "create",
            rootfs=[mount._asdict() for mount in rootfs],
            options=dict(options),
            **stdio._asdict(),
        )
        pid = int(result["pid"])
        task.created(pid)
        return pid

    def _start_shim(self, task: Task, state: str) -> str:
        """Start the shim; its address."""
        orphans.clear(self._shims, state)
        try:
            return self._shims.start(task.namespace, task.id, task.bundle, state)
        except Error:
            # One that a killed daemon had asked for may have come only now, and be in the way.
            if not orphans.clear(self._shims, state):
                raise
        return self._shims.start(task.namespace, task.id, task.bundle, state)

    def start(self, namespace: str, identifier: str, exec_id: str = "") -> int:
        """Let a created process run; its pid. Raises NotFound, FailedPrecondition."""
        task = self.find(namespace, identifier)
        return task.start(exec_id, lambda: int(task.call("start", exec_id=exec_id)["pid"]))

    def exec(
        self, namespace: str, identifier: str, exec_id: str, process: bytes, stdio: Stdio
    ) -> None:
        """Prepare a further process (JSON of an OCI process); raises NotFound, AlreadyExists."""
        check_identifier(exec_id, "exec id")
        task = self.find(namespace, identifier)
        task.add(ProcessState(exec_id, 0, CREATED, stdio))
        try:
            spec = bundle.parse_json(process, "process")
            task.call("exec", exec_id=exec_id, process=spec, **stdio._asdict())
        except BaseException:
            task.forget(exec_id)
            raise
        self._events.publish(
            namespace, "/tasks/exec-added", container_id=identifier, exec_id=exec_id
        )

    def delete_process(self, namespace: str, identifier: str, exec_id: str) -> Exit:
        """Forget a further process that has ended; raises NotFound, FailedPrecondition."""
        task = self.find(namespace, identifier)
        state = task.process(exec_id)
        if state.status not in (STOPPED, CREATED):
            raise FailedPrecondition(f"process {exec_id} is {state.status}, it must be stopped")
        result = task.call("delete_process", exec_id=exec_id)
        task.forget(exec_id)
        return _exit_of(exec_id, state, result)

    def delete(self, namespace: str, identifier: str) -> Exit:
        """Remove a task whose process has ended or never ran, with its shim and its bundle."""
        task = self.find(namespace, identifier)
        state = task.process()
        if state.status not in (STOPPED, CREATED):
            raise FailedPrecondition(f"task {identifier} is {state.status}, it must be stopped")
        try:
            result = task.call("delete")
        except Error as problem:
            # A shim that is gone can't clean up; that is done below.
            if not task.is_lost():
                raise
            self._log.warn(f"deleting task {namespace}/{identifier} without its shim: {problem}")
            result = {}
        found = _exit_of(identifier, state, result)
        self._discard(task)
        self._events.publish(
            namespace,
            "/tasks/delete",
            container_id=identifier,
            pid=found.pid,
            exit_status=found.status,
            exited_at=found.exited_at,
        )
        return found

    # --- while it runs -----------------------------------------------------------------------

    def kill(
        self, namespace: str, identifier: str, exec_id: str, signal: int, *, everyone: bool = False
    ) -> None:
        """Send a signal; raises NotFound, also for a process that has ended."""
        task = self.find(namespace, identifier)
        state = task.process(exec_id)
        if state.status == STOPPED:
            raise NotFound("process already finished")
        if exec_id and state.status == CREATED:
            raise FailedPrecondition(f"process {exec_id} was not started")
        if task.is_lost():
            return  # its shim was killed, and it is being killed for that
        task.call("kill", exec_id=exec_id, signal=signal, all=everyone)

    def pause(self, namespace: str, identifier: str, *, paused: bool) -> None:
        """Freeze a running container, or let it go on; raises FailedPrecondition."""
        task = self.find(namespace, identifier)
        task.call("pause" if paused else "resume")
        task.set_paused(paused)

    def call(self, namespace: str, identifier: str, method: str, **params: Any) -> dict[str, Any]:
        """What needs no bookkeeping: pids, resize, close_io, stats, update."""
        return self.find(namespace, identifier).call(method, **params)

    # --- after a restart ---------------------------------------------------------------------

    def reconnect(self) -> None:
        """Find the shims of an earlier daemon, and the exits that nobody was there to see."""
        for namespace in bundle.directories(self._root):
            for identifier in bundle.directories(os.path.join(self._root, namespace)):
                self._reconnect(namespace, identifier)
        self._clear_orphans()

    def _clear_orphans(self) -> None:
        """Remove shims that no bundle is about: the daemon was killed while it removed or made them."""
        known = {self._shim_directory(task, make=False) for task in self._tasks.values()}
        for name in bundle.directories(self._states):
            path = os.path.join(self._states, name)
            if path in known:
                continue
            try:
                orphans.clear(self._shims, path)
                bundle.remove_state(path)
            except (Error, OSError) as problem:
                self._log.error(f"cleaning up after an unknown shim in {path}: {problem}")

    def _reconnect(self, namespace: str, identifier: str) -> None:
        task = Task(namespace, identifier, self._bundle(namespace, identifier), self._events)
        try:
            address = bundle.read(task.bundle, "address").decode()
            self._connect(task, address)
            for found in task.call("state", exec_id=None)["processes"]:
                task.add(_state_of(found))
            task.process()  # a shim without one was killed before it had made its container
        except DeadlineExceeded as problem:
            # Somebody has stopped the shim: its container is none to be killed for that, and it may go on.
            self._log.error(f"task {task.namespace}/{task.id}: {problem}")
            task.restore(RUNNING, {})
        except (Error, OSError, KeyError, ValueError) as problem:
            self._recover(task, problem)
            return
        self._tasks[namespace, identifier] = task
        self._log.info(f"found task {namespace}/{identifier} again")

    def _recover(self, task: Task, problem: Exception) -> None:
        """A bundle without a shim: keep what is known of its end, or clean up what never ran."""
        directory = self._shim_directory(task, make=False)
        recorded = bundle.read_exit(directory)
        if recorded is None and not leftovers.exist(directory):
            self._log.warn(f"removing task {task.namespace}/{task.id}, it never ran: {problem}")
            self._discard(task)
            return
        task.detach()
        self._tasks[task.namespace, task.id] = task
        if recorded is not None:
            task.restore(STOPPED, recorded)
            return
        # Nobody has to wait for the end of what is to be killed, but those who ask for it.
        task.restore(RUNNING, {})
        threading.Thread(target=self._bury, args=(task,), name="leftovers", daemon=True).start()

    def _bury(self, task: Task) -> None:
        self._log.error(f"the shim of task {task.namespace}/{task.id} has gone")
        self._remove_leftovers(task)
        task.lost()

    def close(self) -> None:
        """Let go of all shims; they go on."""
        with self._lock:
            tasks = list(self._tasks.values())
        for task in tasks:
            task.detach()

    # --- shims and directories ---------------------------------------------------------------

    def _connect(self, task: Task, address: str) -> None:
        shim = self._shims.connect(address, task.on_event, lambda: self._shim_gone(task))
        task.attach(shim)
        version = shim.call("subscribe").get("version") or 0
        if version > protocol.VERSION:
            self._log.warn(f"the shim of task {task.namespace}/{task.id} is of a newer release")

    def _shim_gone(self, task: Task) -> None:
        if task.ending or task.deleted or task.is_lost():
            return
        self._bury(task)

    def _remove_leftovers(self, task: Task) -> None:
        """What a shim cleans up itself, unless it was killed: then its container must not go on."""
        try:
            leftovers.remove(self._shim_directory(task, make=False))
        except (Error, OSError) as problem:
            self._log.error(f"cleaning up after task {task.namespace}/{task.id}: {problem}")

    def _bundle(self, namespace: str, identifier: str) -> str:
        return os.path.join(self._root, namespace, identifier)

    def _shim_directory(self, task: Task, *, make: bool = True) -> str:
        name = hashlib.sha256(f"{task.namespace}/{task.id}".encode()).hexdigest()[:20]
        path = os.path.join(self._states, name)
        if make:
            os.makedirs(path, mode=0o700, exist_ok=True)
        return path

    def _discard(self, task: Task) -> None:
        """End the shim and remove everything of a task."""
        task.stop_shim()
        self._remove_leftovers(task)
        bundle.remove(task.bundle)
        bundle.remove_state(self._shim_directory(task, make=False))
        with self._lock:
            if self._tasks.get((task.namespace, task.id)) is task:
                del self._tasks[task.namespace, task.id]
        task.finish()


def _exit_of(identifier: str, state: ProcessState, result: Mapping[str, Any]) -> Exit:
    """From what the shim says, else from what was known."""
    return Exit(
        identifier,
        int(result.get("pid") or state.pid),
        int(result.get("status", state.exit_status)),
        int(result.get("exited_at") or state.exited_at),
    )


def _state_of(found: Mapping[str, Any]) -> ProcessState:
    stdio = Stdio(
        found.get("stdin") or "",
        found.get("stdout") or "",
        found.get("stderr") or "",
        bool(found.get("terminal")),
    )
    return ProcessState(
        found.get("exec_id") or "",
        int(found.get("pid") or 0),
        str(found["status"]),
        stdio,
        int(found.get("exit_status") or 0),
        int(found.get("exited_at") or 0),
    )
