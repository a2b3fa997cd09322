"""The Task service of a shim (shim v2); v3 differs by its name alone."""

from __future__ import annotations

from typing import NamedTuple

from pinnace.api import codec as pb
from pinnace.api.method import Method
from pinnace.api.schema.tasktypes import ProcessInfo
from pinnace.api.schema.types import Mount
from pinnace.api.schema.wellknown import Any, Empty, Timestamp

PACKAGE = "containerd.task.v2"


class CreateTaskRequest(pb.Message):
    id = pb.string(1)
    bundle = pb.string(2)
    rootfs = pb.messages(3, Mount)
    terminal = pb.boolean(4)
    stdin = pb.string(5)
    stdout = pb.string(6)
    stderr = pb.string(7)
    checkpoint = pb.string(8)
    parent_checkpoint = pb.string(9)
    options = pb.message(10, Any)


class CreateTaskResponse(pb.Message):
    pid = pb.uint32(1)


class StateRequest(pb.Message):
    id = pb.string(1)
    exec_id = pb.string(2)


class StateResponse(pb.Message):
    id = pb.string(1)
    bundle = pb.string(2)
    pid = pb.uint32(3)
    status = pb.enum(4)
    stdin = pb.string(5)
    stdout = pb.string(6)
    stderr = pb.string(7)
    terminal = pb.boolean(8)
    exit_status = pb.uint32(9)
    exited_at = pb.message(10, Timestamp)
    exec_id = pb.string(11)


class StartRequest(pb.Message):
    id = pb.string(1)
    exec_id = pb.string(2)


class StartResponse(pb.Message):
    pid = pb.uint32(1)


class DeleteRequest(pb.Message):
    id = pb.string(1)
    exec_id = pb.string(2)


class DeleteResponse(pb.Message):
    pid = pb.uint32(1)
    exit_status = pb.uint32(2)
    exited_at = pb.message(3, Timestamp)


class ExecProcessRequest(pb.Message):
    id = pb.string(1)
    exec_id = pb.string(2)
    terminal = pb.boolean(3)
    stdin = pb.string(4)
    stdout = pb.string(5)
    stderr = pb.string(6)
    spec = pb.message(7, Any)


class WaitRequest(pb.Message):
    id = pb.string(1)
    exec_id = pb.string(2)


class WaitResponse(pb.Message):
    exit_status = pb.uint32(1)
    exited_at = pb.message(2, Timestamp)


class ShutdownRequest(pb.Message):
    id = pb.string(1)
    now = pb.boolean(2)


class ResizePtyRequest(pb.Message):
    id = pb.string(1)
    exec_id = pb.string(2)
    width = pb.uint32(3)
    height = pb.uint32(4)


class KillRequest(pb.Message):
    id = pb.string(1)
    exec_id = pb.string(2)
    signal = pb.uint32(3)
    all = pb.boolean(4)


class CloseIORequest(pb.Message):
    id = pb.string(1)
    exec_id = pb.string(2)
    stdin = pb.boolean(3)


class PauseRequest(pb.Message):
    id = pb.string(1)


class ResumeRequest(pb.Message):
    id = pb.string(1)


class PidsRequest(pb.Message):
    id = pb.string(1)


class PidsResponse(pb.Message):
    processes = pb.messages(1, ProcessInfo)


class CheckpointTaskRequest(pb.Message):
    id = pb.string(1)
    path = pb.string(2)
    options = pb.message(3, Any)


class UpdateTaskRequest(pb.Message):
    id = pb.string(1)
    resources = pb.message(2, Any)
    annotations = pb.string_map(3)


class StatsRequest(pb.Message):
    id = pb.string(1)


class StatsResponse(pb.Message):
    stats = pb.message(1, Any)


class ConnectRequest(pb.Message):
    id = pb.string(1)


class ConnectResponse(pb.Message):
    shim_pid = pb.uint32(1)
    task_pid = pb.uint32(2)
    version = pb.string(3)


class Task(NamedTuple):
    """The methods of ``containerd.task.v2.Task`` or ``containerd.task.v3.Task``."""

    create: Method[CreateTaskRequest, CreateTaskResponse]
    state: Method[StateRequest, StateResponse]
    start: Method[StartRequest, StartResponse]
    delete: Method[DeleteRequest, DeleteResponse]
    pids: Method[PidsRequest, PidsResponse]
    pause: Method[PauseRequest, Empty]
    resume: Method[ResumeRequest, Empty]
    checkpoint: Method[CheckpointTaskRequest, Empty]
    kill: Method[KillRequest, Empty]
    exec: Method[ExecProcessRequest, Empty]
    resize_pty: Method[ResizePtyRequest, Empty]
    close_io: Method[CloseIORequest, Empty]
    update: Method[UpdateTaskRequest, Empty]
    wait: Method[WaitRequest, WaitResponse]
    stats: Method[StatsRequest, StatsResponse]
    connect: Method[ConnectRequest, ConnectResponse]
    shutdown: Method[ShutdownRequest, Empty]


def service(version: int) -> Task:
    """The service of a version, 2 or 3."""
    name = f"containerd.task.v{version}.Task"
    return Task(
        Method(name, "Create", CreateTaskRequest, CreateTaskResponse),
        Method(name, "State", StateRequest, StateResponse),
        Method(name, "Start", StartRequest, StartResponse),
        Method(name, "Delete", DeleteRequest, DeleteResponse),
        Method(name, "Pids", PidsRequest, PidsResponse),
        Method(name, "Pause", PauseRequest, Empty),
        Method(name, "Resume", ResumeRequest, Empty),
        Method(name, "Checkpoint", CheckpointTaskRequest, Empty),
        Method(name, "Kill", KillRequest, Empty),
        Method(name, "Exec", ExecProcessRequest, Empty),
        Method(name, "ResizePty", ResizePtyRequest, Empty),
        Method(name, "CloseIO", CloseIORequest, Empty),
        Method(name, "Update", UpdateTaskRequest, Empty),
        Method(name, "Wait", WaitRequest, WaitResponse),
        Method(name, "Stats", StatsRequest, StatsResponse),
        Method(name, "Connect", ConnectRequest, ConnectResponse),
        Method(name, "Shutdown", ShutdownRequest, Empty),
    )
