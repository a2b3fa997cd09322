"""A connection to a shim of containerd's protocol, in the words of our own: what :class:`pinnace.daemon.shims.Shim` says.

That a process has ended is known from ``Wait``, which is asked for every process that runs; it can't get lost, as events can.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pinnace.api.schema import cgroups1, cgroups2, runc, shims, tasktypes
from pinnace.api.schema import wellknown as wk
from pinnace.api.schema.types import Mount
from pinnace.api.services import convert
from pinnace.api.ttrpcclient import TtrpcClient
from pinnace.daemon import bundle
from pinnace.errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from pinnace.api.codec import Message
    from pinnace.api.foreign.program import Address
    from pinnace.daemon.shims import OnEvent

_ANSWER_SECONDS = 120.0
_LONGEST_SECONDS = 900.0
_TYPES = "types.containerd.io/opencontainers/runtime-spec/1/"
_EXECS = "execs"
"""The file of a bundle with the ids of further processes, for which the protocol has no question."""
_STATUS = {
    tasktypes.STATUS_CREATED: "created",
    tasktypes.STATUS_RUNNING: "running",
    tasktypes.STATUS_STOPPED: "stopped",
    tasktypes.STATUS_PAUSED: "paused",
    tasktypes.STATUS_PAUSING: "paused",
}


class ForeignShim:
    """One container of a shim; several may share its process."""

    def __init__(
        self, address: Address, identifier: str, path: str, on_event: OnEvent,
        on_close: Callable[[], None],
    ) -> None:  # fmt: skip
        """Raises Unavailable when no shim listens."""
        self._id = identifier
        self._bundle = path
        self._on_event = on_event
        self._task = shims.service(address.version)
        self._client = TtrpcClient(address.path, timeout=_ANSWER_SECONDS, on_close=on_close)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """As :meth:`pinnace.daemon.shims.Shim.call`."""
        handler = getattr(self, f"do_{method}", None)
        if handler is None:
            raise InvalidArgument(f"unknown method {method!r}")
        found: dict[str, Any] = handler(**params) or {}
        return found

    def close(self) -> None:
        self._client.close()

    # --- the container's life ----------------------------------------------------------------

    def do_create(
        self, rootfs: list[dict[str, Any]], options: Any, checkpoint: str = "", **stdio: Any
    ) -> dict[str, Any]:
        mounts = [Mount(**{**entry, "options": list(entry["options"])}) for entry in rootfs]
        request = shims.CreateTaskRequest(
            id=self._id, bundle=self._bundle, rootfs=mounts, checkpoint=checkpoint,
            options=convert.any_message(options), **stdio,
        )  # fmt: skip
        made = self._client.call(self._task.create, request, _LONGEST_SECONDS)
        self._await_end("")
        return {"pid": made.pid}

    def do_start(self, exec_id: str) -> dict[str, Any]:
        request = shims.StartRequest(id=self._id, exec_id=exec_id)
        pid = self._client.call(self._task.start, request, _LONGEST_SECONDS).pid
        if exec_id:
            self._await_end(exec_id)
        return {"pid": pid}

    def do_exec(self, exec_id: str, process: dict[str, Any], **stdio: Any) -> None:
        spec = _json("Process", process)
        request = shims.ExecProcessRequest(id=self._id, exec_id=exec_id, spec=spec, **stdio)
        self._client.call(self._task.exec, request)
        self._note_execs([*self._execs(), exec_id])

    def do_kill(self, **which: Any) -> None:
        """``exec_id``, ``signal``, ``all``."""
        request = shims.KillRequest(id=self._id, **which)
        self._client.call(self._task.kill, request)

    def do_delete(self, last: bool = False) -> dict[str, Any]:
        return self._delete("")

    def do_delete_process(self, exec_id: str) -> dict[str, Any]:
        found = self._delete(exec_id)
        self._note_execs([name for name in self._execs() if name != exec_id])
        return found

    def do_shutdown(self) -> None:
        """A shim that has other containers goes on."""
        self._client.call(self._task.shutdown, shims.ShutdownRequest(id=self._id))

    # --- while it runs -----------------------------------------------------------------------

    def do_state(self, exec_id: str | None = None) -> dict[str, Any]:
        """What a new daemon must know; it hears of the ends to come."""
        found = [self._state("")]
        for name in self._execs():
            try:
                found.append(self._state(name))
            except NotFound:
                continue  # deleted, when the daemon was killed
        for process in found:
            if process["status"] != "stopped" and (process["pid"] or not process["exec_id"]):
                self._await_end(process["exec_id"])
        return {"processes": found}

    def do_pids(self) -> dict[str, Any]:
        found = self._client.call(self._task.pids, shims.PidsRequest(id=self._id))
        return {"pids": [process.pid for process in found.processes]}

    def do_resize(self, exec_id: str, width: int, height: int) -> None:
        request = shims.ResizePtyRequest(id=self._id, exec_id=exec_id, width=width, height=height)
        self._client.call(self._task.resize_pty, request)

    def do_close_io(self, exec_id: str) -> None:
        request = shims.CloseIORequest(id=self._id, exec_id=exec_id, stdin=True)
        self._client.call(self._task.close_io, request)

    def do_pause(self) -> None:
        self._client.call(self._task.pause, shims.PauseRequest(id=self._id))

    def do_resume(self) -> None:
        self._client.call(self._task.resume, shims.ResumeRequest(id=self._id))

    def do_update(self, resources: dict[str, Any]) -> None:
        request = shims.UpdateTaskRequest(id=self._id, resources=_json("LinuxResources", resources))
        self._client.call(self._task.update, request)

    def do_checkpoint(self, path: str, options: dict[str, Any]) -> None:
        packed = wk.Any.pack(runc.CheckpointOptions(**options))
        request = shims.CheckpointTaskRequest(id=self._id, path=path, options=packed)
        self._client.call(self._task.checkpoint, request, _LONGEST_SECONDS)

    def do_stats(self) -> dict[str, Any]:
        found = self._client.call(self._task.stats, shims.StatsRequest(id=self._id)).stats
        for version, kind in ((1, cgroups1.Metrics), (2, cgroups2.Metrics)):
            if found is not None and found.holds(kind):
                return {"cgroup": version, **_values(found.unpack(kind))}
        raise NotFound(f"the shim of {self._id} has no metrics of control groups")

    # --- underneath --------------------------------------------------------------------------

    def _delete(self, exec_id: str) -> dict[str, Any]:
        request = shims.DeleteRequest(id=self._id, exec_id=exec_id)
        gone = self._client.call(self._task.delete, request)
        return {"pid": gone.pid, "status": gone.exit_status, "exited_at": _time(gone.exited_at)}

    def _state(self, exec_id: str) -> dict[str, Any]:
        request = shims.StateRequest(id=self._id, exec_id=exec_id)
        state = self._client.call(self._task.state, request)
        return {
            "exec_id": exec_id,
            "pid": state.pid,
            "status": _STATUS.get(state.status, "created"),
            "stdin": state.stdin,
            "stdout": state.stdout,
            "stderr": state.stderr,
            "terminal": state.terminal,
            "exit_status": state.exit_status,
            "exited_at": _time(state.exited_at),
        }

    def _await_end(self, exec_id: str) -> None:
        def ended(answer: shims.WaitResponse) -> None:
            self._on_event(
                {
                    "event": "exit",
                    "exec_id": exec_id,
                    "status": answer.exit_status,
                    "exited_at": _time(answer.exited_at),
                }
            )

        request = shims.WaitRequest(id=self._id, exec_id=exec_id)
        self._client.begin(self._task.wait, request, ended)

    def _execs(self) -> list[str]:
        return bundle.read_if_there(self._bundle, _EXECS).split()

    def _note_execs(self, names: list[str]) -> None:
        bundle.write(self._bundle, _EXECS, " ".join(names).encode())


def _json(kind: str, value: dict[str, Any]) -> wk.Any:
    return wk.Any(type_url=_TYPES + kind, value=json.dumps(value).encode())


def _time(stamp: wk.Timestamp | None) -> int:
    return stamp.nanoseconds() if stamp is not None else 0


def _values(message: Message) -> dict[str, Any]:
    """A message as the plain numbers that our own shims send."""
    found: dict[str, Any] = {}
    for name, field in message.fields.items():
        value = getattr(message, name)
        if field.message is not None and field.repeated:
            value = [_values(item) for item in value]
        elif field.message is not None and value is not None:
            value = _values(value)
        found[name] = value
    return found
