"""Tasks: starting shims, finding them again, and everything one asks of a running container.

A shim is a process of its own that outlives the daemon. For each task there is a bundle directory,
``<state>/io.containerd.runtime.v2.task/<namespace>/<id>``, with ``config.json``, the root
directory, and ``address``, which names the shim's socket; from these a new daemon finds its tasks.
``shim-binary-path`` is there as well when the shim is not our own.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from pinnace.daemon import bundle
from pinnace.daemon.backends import OwnShims
from pinnace.daemon.runtimes import Runtime
from pinnace.daemon.task import CREATED, RUNNING, STOPPED, ProcessState, Stdio, Task
from pinnace.errors import (
    AlreadyExists,
    DeadlineExceeded,
    Error,
    FailedPrecondition,
    NotFound,
    ResourceExhausted,
    Unavailable,
    described,
)
from pinnace.store.records import check_identifier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pinnace.daemon.backends import Backend
    from pinnace.daemon.events import Exchange
    from pinnace.daemon.log import Log
    from pinnace.daemon.shims import Shims
    from pinnace.linux.mount import Mount

_PROGRAM = "shim-binary-path"
"""The file of a bundle that names the program of its shim, unless it is our own."""
_ENDING_SECONDS = 10.0
"""How long a task is waited for that was deleted and still has its root; a kernel that flushes a slow card takes its time."""


class Exit(NamedTuple):
    """How a process ended; the time is in nanoseconds since the epoch."""

    id: str
    pid: int
    status: int
    exited_at: int


class Tasks:
    """All tasks of all namespaces."""

    def __init__(
        self,
        root: str,
        shims: Shims,
        events: Exchange,
        log: Log,
        programs: Callable[[], Backend] | None = None,
    ) -> None:
        """``programs`` gives the backend of shims that are not our own, when there is one."""
        self._root = root
        self._own = OwnShims(os.path.join(os.path.dirname(root), "s"), shims, log)
        self._programs = programs
        self._events = events
        self._log = log
        self._lock = threading.Lock()
        self._tasks: dict[tuple[str, str], Task] = {}
        self._ending: dict[tuple[str, str], tuple[Task, threading.Event]] = {}
        """Those that were deleted, while their shims let go of their roots."""
        os.makedirs(self._root, mode=0o711, exist_ok=True)

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
        runtime: Runtime | None = None,
        checkpoint: str = "",
    ) -> int:
        """Start a shim and let it create the container; the pid of its first process.

        ``options`` are for our own shim; a ``runtime`` of another program has its own. With a ``checkpoint``, a directory
        of criu's, the container goes on from there when it is started. Raises AlreadyExists, InvalidArgument, and what the shim says. Nothing is left on failure.
        """
        check_identifier(namespace)
        check_identifier(identifier)
        runtime = runtime or Runtime()
        backend = self._backend(runtime.program)
        task = Task(
            namespace, identifier, self._bundle(namespace, identifier), self._events, backend
        )
        with self._lock:
            if (namespace, identifier) in self._tasks:
                raise AlreadyExists(f"task {identifier}: already exists")
            self._tasks[namespace, identifier] = task
        try:
            pid = self._create(task, runtime, spec, rootfs, stdio, options, checkpoint)
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
        runtime: Runtime,
        spec: bytes,
        rootfs: Sequence[Mount],
        stdio: Stdio,
        options: Mapping[str, Any],
        checkpoint: str,
    ) -> int:
        ending = self._ending.get((task.namespace, task.id))
        if ending is not None:  # its root is likely the same, and not to be mounted twice
            ending[1].wait(_ENDING_SECONDS)
        bundle.make(task.bundle, spec)
        if runtime.program:
            bundle.write(task.bundle, _PROGRAM, runtime.program.encode())
        address = task.backend.start(task, runtime)
        bundle.write(task.bundle, "address", address.encode())
        self._connect(task, address)
        task.add(ProcessState("", 0, CREATED, stdio))
        result = task.call(
            "create",
            rootfs=[mount._asdict() for mount in rootfs],
            options=runtime.options if runtime.program else dict(options),
            checkpoint=checkpoint,
            **stdio._asdict(),
        )
        pid = int(result["pid"])
        task.created(pid)
        return pid

    def _backend(self, program: str) -> Backend:
        if not program:
            return self._own
        if self._programs is None:
            raise NotFound(f"shim {program} cannot be used: this daemon knows only its own")
        return self._programs()

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
        result = self._delete(task)
        found = _exit_of(identifier, task.process(), result)
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

    def _delete(self, task: Task) -> Mapping[str, Any]:
        """Have the shim remove the container, and end; what it says of the process, nothing when it is gone already."""
        with self._lock:
            self._ending.setdefault((task.namespace, task.id), (task, threading.Event()))
        task.ending = True
        result: Mapping[str, Any] = {}
        try:
            result = task.call("delete", last=True)
            task.cleaned = True
            task.released = bool(result.get("ended"))
        except Error as problem:
            if task.released:
                raise NotFound(f"task {task.id} not found") from None  # somebody else deletes it
            task.ending = False
            if isinstance(problem, Unavailable):
                self._shim_gone(task)
            # A shim that is gone can't clean up; that is done by who calls.
            if not task.is_lost():
                raise
            self._log.warn(f"deleting task {task.namespace}/{task.id} without its shim: {problem}")
        finally:
            if not task.released:
                self._has_ended(task)
        return result

    def _has_ended(self, task: Task) -> None:
        """Nothing of a task's container is left: whoever waits to make the next one may go on."""
        key = task.namespace, task.id
        with self._lock:
            found = self._ending.get(key)
            if found is not None and found[0] is task:
                del self._ending[key]
                found[1].set()

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

    def checkpoint(
        self, namespace: str, identifier: str, path: str, options: Mapping[str, Any]
    ) -> None:
        """Have criu write the container to the directory ``path``; raises FailedPrecondition without criu."""
        self.find(namespace, identifier).call("checkpoint", path=path, options=dict(options))
        self._events.publish(
            namespace, "/tasks/checkpointed", container_id=identifier, checkpoint=path
        )

    def call(self, namespace: str, identifier: str, method: str, **params: Any) -> dict[str, Any]:
        """What needs no bookkeeping: pids, resize, close_io, stats, update."""
        return self.find(namespace, identifier).call(method, **params)

    # --- after a restart ---------------------------------------------------------------------

    def reconnect(self) -> None:
        """Find the shims of an earlier daemon, and the exits that nobody was there to see.

        Raises ResourceExhausted when this process can't have enough descriptors or threads for them.
        """
        for namespace in bundle.directories(self._root):
            for identifier in bundle.directories(os.path.join(self._root, namespace)):
                self._reconnect(namespace, identifier)
        self._own.clear_orphans(self._tasks.values())

    def _reconnect(self, namespace: str, identifier: str) -> None:
        path = self._bundle(namespace, identifier)
        backend = self._backend(bundle.read_if_there(path, _PROGRAM))
        task = Task(namespace, identifier, path, self._events, backend)
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
            if isinstance(shown := described(problem), ResourceExhausted):
                # Whether there is a shim can't be known: its container is none to be killed for that either.
                raise shown from None
            self._recover(task, problem)
            return
        self._tasks[namespace, identifier] = task
        self._log.info(f"found task {namespace}/{identifier} again")

    def _recover(self, task: Task, problem: Exception) -> None:
        """A bundle without a shim: keep what is known of its end, or clean up what never ran."""
        recorded = task.backend.recorded_exit(task)
        if recorded is None and not task.backend.has_leftovers(task):
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
        def gone() -> None:
            self._has_ended(task)
            self._shim_gone(task)

        task.attach(task.backend.connect(task, address, task.on_event, gone))

    def _shim_gone(self, task: Task) -> None:
        if task.ending or task.deleted or task.is_lost():
            return
        self._bury(task)

    def _remove_leftovers(self, task: Task) -> None:
        """What a shim cleans up itself, unless it was killed: then its container must not go on."""
        try:
            task.backend.remove_leftovers(task)
        except (Error, OSError) as problem:
            self._log.error(f"cleaning up after task {task.namespace}/{task.id}: {problem}")

    def _bundle(self, namespace: str, identifier: str) -> str:
        return os.path.join(self._root, namespace, identifier)

    def _discard(self, task: Task) -> None:
        """End the shim and remove everything of a task."""
        task.stop_shim()
        self._remove_leftovers(task)
        task.backend.forget(task)
        bundle.remove(task.bundle)
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
