"""The backend of tasks whose shims are programs of containerd's protocol."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, Any

from pinnace.api.foreign.logs import Logs
from pinnace.api.foreign.program import Programs, parse
from pinnace.api.foreign.shim import ForeignShim
from pinnace.daemon import bundle
from pinnace.errors import Error, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pinnace.daemon.log import Log
    from pinnace.daemon.runtimes import Runtime
    from pinnace.daemon.shims import OnEvent, Shim
    from pinnace.daemon.task import Task

PROGRAM = "shim-binary-path"
_PID = "init.pid"
"""What runc.v2's shim has its runtime write when it has made a container."""


class ForeignShims:
    """See :class:`pinnace.daemon.backends.Backend`, which this is one of."""

    def __init__(self, address: str, ttrpc_address: str, log: Log) -> None:
        """The daemon's sockets, the second for the shims' events."""
        self._programs = Programs(address, ttrpc_address)
        self._logs = Logs(log)

    def start(self, task: Task, runtime: Runtime) -> str:
        self._logs.follow(task)
        # Where such a shim has its runtime work, with criu's files.
        os.makedirs(os.path.join(task.bundle, "work"), mode=0o700, exist_ok=True)
        try:
            return self._programs.start(runtime.program, task, runtime.options)
        except BaseException:
            self._logs.leave(task)
            raise

    def connect(
        self, task: Task, address: str, on_event: OnEvent, on_close: Callable[[], None]
    ) -> Shim:
        self._logs.follow(task)
        return ForeignShim(parse(address), task.id, task.bundle, on_event, on_close)

    def recorded_exit(self, task: Task) -> Mapping[str, Any] | None:
        """Such shims record nothing."""
        return None

    def has_leftovers(self, task: Task) -> bool:
        return os.path.exists(os.path.join(task.bundle, _PID))

    def remove_leftovers(self, task: Task) -> None:
        """Have the shim's program do it, unless the shim itself has."""
        if task.cleaned or not os.path.isdir(task.bundle):
            return
        self._logs.leave(task)
        program = bundle.read_if_there(task.bundle, PROGRAM)
        if not os.path.isfile(program):
            raise NotFound(f"shim {program} is not there any more: its container may still run")
        self._programs.delete(program, task)
        task.cleaned = True

    def forget(self, task: Task) -> None:
        self._logs.leave(task)
        _remove_socket(task)


def _remove_socket(task: Task) -> None:
    """The socket of a shim that was killed, unless somebody answers there: a shim may have several containers."""
    with contextlib.suppress(Error, OSError):
        path = parse(bundle.read_if_there(task.bundle, "address")).path
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            import socket

            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
                try:
                    probe.connect(path)
                except ConnectionRefusedError:
                    os.unlink(path)
