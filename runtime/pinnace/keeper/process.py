"""The processes of one container as its shim sees them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pinnace.keeper.stdio import Stdio

CREATED = "created"
RUNNING = "running"
PAUSED = "paused"
STOPPED = "stopped"


class Process:
    """One process: the container's own (``exec_id`` is empty) or one added to it."""

    __slots__ = (
        "checkpoint",
        "exec_id",
        "exit_status",
        "exited_at",
        "pid",
        "spec",
        "status",
        "stdio",
        "terminal",
    )

    def __init__(
        self, exec_id: str, stdio: Stdio, terminal: bool, spec: dict[str, Any] | None
    ) -> None:
        self.exec_id = exec_id
        self.stdio = stdio
        self.terminal = terminal
        self.spec = spec
        """The OCI process of an added one."""
        self.checkpoint = ""
        """The directory that it is restored from when it is started."""
        self.pid = 0
        self.status = CREATED
        self.exit_status = 0
        self.exited_at = 0
        """Nanoseconds since the epoch."""

    def describe(self) -> dict[str, Any]:
        """For ``state``: what a new daemon needs to know."""
        return {
            "exec_id": self.exec_id,
            "pid": self.pid,
            "status": self.status,
            "terminal": self.terminal,
            "exit_status": self.exit_status,
            "exited_at": self.exited_at,
            **self.stdio.paths,
        }

    def remember(self) -> dict[str, Any]:
        """All but its streams, for :meth:`recalled`."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "stdio"}

    @classmethod
    def recalled(cls, remembered: dict[str, Any], stdio: Stdio) -> Process:
        """What :meth:`remember` told of."""
        process = cls(remembered["exec_id"], stdio, remembered["terminal"], remembered["spec"])
        for name, value in remembered.items():
            setattr(process, name, value)
        return process

    def result(self) -> dict[str, int]:
        """For ``delete``: how it ended."""
        return {"pid": self.pid, "status": self.exit_status, "exited_at": self.exited_at}

    def exit_event(self) -> dict[str, Any]:
        return {"event": "exit", "exec_id": self.exec_id, **self.result()}


def status_of(wait_status: int) -> int:
    """An exit status as shells and containerd give it: 128 and the number for a signal."""
    if os.WIFSIGNALED(wait_status):
        return 128 + os.WTERMSIG(wait_status)
    return os.WEXITSTATUS(wait_status)


def record_exit(state: str, process: Process) -> None:
    """Write ``exit.json``, whole or not at all: a daemon that was away reads it."""
    path = os.path.join(state, "exit.json")
    with open(f"{path}.new", "w", encoding="ascii") as file:
        json.dump(process.result(), file)
    os.rename(f"{path}.new", path)
