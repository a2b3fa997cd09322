"""Where a task's shim comes from, and what is left of its container without it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

from pinnace.daemon import bundle, orphans
from pinnace.errors import Error
from pinnace.keeper import leftovers, protocol
from pinnace.spec.digest import sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from pinnace.daemon.log import Log
    from pinnace.daemon.runtimes import Runtime
    from pinnace.daemon.shims import OnEvent, Shim, Shims
    from pinnace.daemon.task import Task


class Backend(Protocol):
    """One kind of shims. A task's bundle is the daemon's; what else there is of it is the backend's."""

    def start(self, task: Task, runtime: Runtime) -> str:
        """Start a shim for a task's bundle; its address, by which any daemon finds it. Raises what went wrong."""

    def connect(
        self, task: Task, address: str, on_event: OnEvent, on_close: Callable[[], None]
    ) -> Shim:
        """Connect to it; both callbacks come from another thread. Raises Unavailable."""

    def recorded_exit(self, task: Task) -> Mapping[str, Any] | None:
        """What a shim that is gone wrote of its container's end: ``pid``, ``status``, ``exited_at``."""

    def has_leftovers(self, task: Task) -> bool:
        """Whether a container was made and not removed."""

    def remove_leftovers(self, task: Task) -> None:
        """Kill and remove what a shim left of its container; nothing there is fine. Raises Error, OSError."""

    def forget(self, task: Task) -> None:
        """Remove the files of a shim that is gone; the bundle still exists."""


class OwnShims:
    """Our own, which the keeper forks. Each has a directory for its socket, log and state.

    Its name is short, because a socket's path has 107 bytes at most.
    """

    def __init__(self, states: str, shims: Shims, log: Log) -> None:
        self._states = states
        self._shims = shims
        self._log = log
        os.makedirs(states, mode=0o711, exist_ok=True)

    def start(self, task: Task, runtime: Runtime) -> str:
        state = self._directory(task)
        os.makedirs(state, mode=0o700, exist_ok=True)
        orphans.clear(self._shims, state)
        try:
            return self._shims.start(task.namespace, task.id, task.bundle, state)
        except Error:
            # One that a killed daemon had asked for may have come only now, and be in the way.
            if not orphans.clear(self._shims, state):
                raise
        return self._shims.start(task.namespace, task.id, task.bundle, state)

    def connect(
        self, task: Task, address: str, on_event: OnEvent, on_close: Callable[[], None]
    ) -> Shim:
        shim = self._shims.connect(address, on_event, on_close)
        try:
            version = shim.call("subscribe").get("version") or 0
        except Error:
            shim.close()
            raise
        if version > protocol.VERSION:
            self._log.warn(f"the shim of task {task.namespace}/{task.id} is of a newer release")
        return shim

    def recorded_exit(self, task: Task) -> Mapping[str, Any] | None:
        return bundle.read_exit(self._directory(task))

    def has_leftovers(self, task: Task) -> bool:
        return leftovers.exist(self._directory(task))

    def remove_leftovers(self, task: Task) -> None:
        leftovers.remove(self._directory(task))

    def forget(self, task: Task) -> None:
        bundle.remove_state(self._directory(task))

    def clear_orphans(self, tasks: Collection[Task]) -> None:
        """Remove shims that no task is about: the daemon was killed while it removed or made them."""
        known = {self._directory(task) for task in tasks}
        for name in bundle.directories(self._states):
            path = os.path.join(self._states, name)
            if path in known:
                continue
            try:
                orphans.clear(self._shims, path)
                bundle.remove_state(path)
            except (Error, OSError) as problem:
                self._log.error(f"cleaning up after an unknown shim in {path}: {problem}")

    def _directory(self, task: Task) -> str:
        name = sha256(f"{task.namespace}/{task.id}".encode()).hex[:20]
        return os.path.join(self._states, name)
