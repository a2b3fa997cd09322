"""The methods of the Task service, each a request to the shim's own and its answer. They are named like those of the schema."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pinnace.api.schema import events as kinds
from pinnace.api.schema import runc, tasktypes
from pinnace.api.schema import shims as wire
from pinnace.api.schema.wellknown import Any, Empty
from pinnace.api.services import convert
from pinnace.daemon import bundle
from pinnace.errors import InvalidArgument
from pinnace.version import CONTAINERD_VERSION

if TYPE_CHECKING:
    from pinnace.api.taskshim.shim import TaskShim

_STATUS = {
    "created": tasktypes.STATUS_CREATED,
    "running": tasktypes.STATUS_RUNNING,
    "stopped": tasktypes.STATUS_STOPPED,
    "paused": tasktypes.STATUS_PAUSED,
}


# --- the container's life --------------------------------------------------------------------


def create(shim: TaskShim, request: wire.CreateTaskRequest) -> wire.CreateTaskResponse:
    from pinnace.api.services.runtime import options_of

    if os.path.realpath(request.bundle) != os.path.realpath(shim.wanted.bundle):
        raise InvalidArgument(f"this is the shim of {shim.wanted.bundle}, not of {request.bundle}")
    io = {name: getattr(request, name) for name in ("stdin", "stdout", "stderr", "terminal")}
    made = shim.do_create(
        {
            "rootfs": [each._asdict() for each in convert.mount_records(request.rootfs)],
            "options": options_of(request.options),
            "checkpoint": request.checkpoint,
            **io,
        }
    )
    event = kinds.TaskCreate(
        container_id=request.id, bundle=request.bundle, rootfs=request.rootfs,
        io=kinds.TaskIO(**io), checkpoint=request.checkpoint, pid=made["pid"],
    )  # fmt: skip
    shim.events.publish("/tasks/create", event)
    return wire.CreateTaskResponse(pid=made["pid"])


def start(shim: TaskShim, request: wire.StartRequest) -> wire.StartResponse:
    pid = int(shim.do_start({"exec_id": request.exec_id})["pid"])
    if request.exec_id:
        event = kinds.TaskExecStarted(container_id=request.id, exec_id=request.exec_id, pid=pid)
        shim.events.publish("/tasks/exec-started", event)
    else:
        shim.events.publish("/tasks/start", kinds.TaskStart(container_id=request.id, pid=pid))
    return wire.StartResponse(pid=pid)


def exec(shim: TaskShim, request: wire.ExecProcessRequest) -> Empty:  # noqa: A001 (the protocol's word)
    if request.spec is None:
        raise InvalidArgument("process spec must be set")
    shim.do_exec(
        {
            "exec_id": request.exec_id,
            "process": bundle.parse_json(request.spec.value, "process"),
            "stdin": request.stdin,
            "stdout": request.stdout,
            "stderr": request.stderr,
            "terminal": request.terminal,
        }
    )
    event = kinds.TaskExecAdded(container_id=request.id, exec_id=request.exec_id)
    shim.events.publish("/tasks/exec-added", event)
    return Empty()


def kill(shim: TaskShim, request: wire.KillRequest) -> Empty:
    shim.do_kill({"exec_id": request.exec_id, "signal": request.signal, "all": request.all})
    return Empty()


def delete(shim: TaskShim, request: wire.DeleteRequest) -> wire.DeleteResponse:
    if request.exec_id:
        gone = shim.do_delete_process({"exec_id": request.exec_id})
    else:
        gone = shim.do_delete({})
    when = convert.timestamp(gone["exited_at"])
    if not request.exec_id:
        event = kinds.TaskDelete(
            container_id=request.id, pid=gone["pid"], exit_status=gone["status"], exited_at=when
        )
        shim.events.publish("/tasks/delete", event)
    return wire.DeleteResponse(pid=gone["pid"], exit_status=gone["status"], exited_at=when)


def shutdown(shim: TaskShim, request: wire.ShutdownRequest) -> Empty:
    shim.finish()
    return Empty()


# --- while it runs ---------------------------------------------------------------------------


def state(shim: TaskShim, request: wire.StateRequest) -> wire.StateResponse:
    found = shim.process(request.exec_id)
    return wire.StateResponse(
        id=request.id,
        bundle=shim.wanted.bundle,
        pid=found["pid"],
        status=_STATUS[found["status"]],
        stdin=found["stdin"],
        stdout=found["stdout"],
        stderr=found["stderr"],
        terminal=found["terminal"],
        exit_status=found["exit_status"],
        exited_at=convert.timestamp(found["exited_at"]),
        exec_id=request.exec_id,
    )


def connect(shim: TaskShim, request: wire.ConnectRequest) -> wire.ConnectResponse:
    found = shim.do_state({})["processes"]
    pid = next((each["pid"] for each in found if not each["exec_id"]), 0)
    return wire.ConnectResponse(shim_pid=os.getpid(), task_pid=pid, version=CONTAINERD_VERSION)


def pids(shim: TaskShim, request: wire.PidsRequest) -> wire.PidsResponse:
    known = shim.do_state({})["processes"]
    added = {each["pid"]: each["exec_id"] for each in known}
    # A restarted containerd takes a shim without processes for one whose container was never made, and ends it: the exit
    # status would be lost.
    running = shim.do_pids({})["pids"] or [each["pid"] for each in known if not each["exec_id"]]
    found = []
    for pid in running:
        exec_id = added.get(pid)
        info = Any.pack(runc.ProcessDetails(exec_id=exec_id)) if exec_id else None
        found.append(tasktypes.ProcessInfo(pid=pid, info=info))
    return wire.PidsResponse(processes=found)


def resize_pty(shim: TaskShim, request: wire.ResizePtyRequest) -> Empty:
    shim.do_resize({"exec_id": request.exec_id, "width": request.width, "height": request.height})
    return Empty()


def close_io(shim: TaskShim, request: wire.CloseIORequest) -> Empty:
    if request.stdin:
        shim.do_close_io({"exec_id": request.exec_id})
    return Empty()


def pause(shim: TaskShim, request: wire.PauseRequest) -> Empty:
    shim.do_pause({})
    shim.events.publish("/tasks/paused", kinds.TaskPaused(container_id=request.id))
    return Empty()


def resume(shim: TaskShim, request: wire.ResumeRequest) -> Empty:
    shim.do_resume({})
    shim.events.publish("/tasks/resumed", kinds.TaskResumed(container_id=request.id))
    return Empty()


def update(shim: TaskShim, request: wire.UpdateTaskRequest) -> Empty:
    if request.resources is None:
        raise InvalidArgument("resources must be set")
    shim.do_update({"resources": bundle.parse_json(request.resources.value, "resources")})
    return Empty()


def stats(shim: TaskShim, request: wire.StatsRequest) -> wire.StatsResponse:
    from pinnace.api.services import metrics

    return wire.StatsResponse(stats=metrics.message(shim.do_stats({})))


def checkpoint(shim: TaskShim, request: wire.CheckpointTaskRequest) -> Empty:
    options = runc.CheckpointOptions()
    if request.options is not None and request.options.type_url:
        options = request.options.unpack(runc.CheckpointOptions)
    wanted = {name: getattr(options, name) for name in options.fields}
    shim.do_checkpoint({"path": request.path, "options": wanted})
    event = kinds.TaskCheckpointed(container_id=request.id)
    shim.events.publish("/tasks/checkpointed", event)
    return Empty()
