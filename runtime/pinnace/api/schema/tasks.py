"""The Tasks service: running containers and their processes."""

from __future__ import annotations

from pinnace.api import codec as pb
from pinnace.api.method import Method
from pinnace.api.schema.tasktypes import Process, ProcessInfo
from pinnace.api.schema.types import Descriptor, Metric, Mount
from pinnace.api.schema.wellknown import Any, Empty, Timestamp

PACKAGE = "containerd.services.tasks.v1"


class CreateTaskRequest(pb.Message):
    container_id = pb.string(1)
    rootfs = pb.messages(3, Mount)
    stdin = pb.string(4)
    stdout = pb.string(5)
    stderr = pb.string(6)
    terminal = pb.boolean(7)
    checkpoint = pb.message(8, Descriptor)
    options = pb.message(9, Any)
    runtime_path = pb.string(10)


class CreateTaskResponse(pb.Message):
    container_id = pb.string(1)
    pid = pb.uint32(2)


class StartRequest(pb.Message):
    container_id = pb.string(1)
    exec_id = pb.string(2)


class StartResponse(pb.Message):
    pid = pb.uint32(1)


class DeleteTaskRequest(pb.Message):
    container_id = pb.string(1)


class DeleteResponse(pb.Message):
    id = pb.string(1)
    pid = pb.uint32(2)
    exit_status = pb.uint32(3)
    exited_at = pb.message(4, Timestamp)


class DeleteProcessRequest(pb.Message):
    container_id = pb.string(1)
    exec_id = pb.string(2)


class GetRequest(pb.Message):
    container_id = pb.string(1)
    exec_id = pb.string(2)


class GetResponse(pb.Message):
    process = pb.message(1, Process)


class ListTasksRequest(pb.Message):
    filter = pb.string(1)


class ListTasksResponse(pb.Message):
    tasks = pb.messages(1, Process)


class KillRequest(pb.Message):
    container_id = pb.string(1)
    exec_id = pb.string(2)
    signal = pb.uint32(3)
    all = pb.boolean(4)


class ExecProcessRequest(pb.Message):
    container_id = pb.string(1)
    stdin = pb.string(2)
    stdout = pb.string(3)
    stderr = pb.string(4)
    terminal = pb.boolean(5)
    spec = pb.message(6, Any)
    exec_id = pb.string(7)


class ExecProcessResponse(pb.Message):
    pass


class ResizePtyRequest(pb.Message):
    container_id = pb.string(1)
    exec_id = pb.string(2)
    width = pb.uint32(3)
    height = pb.uint32(4)


class CloseIORequest(pb.Message):
    container_id = pb.string(1)
    exec_id = pb.string(2)
    stdin = pb.boolean(3)


class PauseTaskRequest(pb.Message):
    container_id = pb.string(1)


class ResumeTaskRequest(pb.Message):
    container_id = pb.string(1)


class ListPidsRequest(pb.Message):
    container_id = pb.string(1)


class ListPidsResponse(pb.Message):
    processes = pb.messages(1, ProcessInfo)


class CheckpointTaskRequest(pb.Message):
    container_id = pb.string(1)
    parent_checkpoint = pb.string(2)
    options = pb.message(3, Any)


class CheckpointTaskResponse(pb.Message):
    descriptors = pb.messages(1, Descriptor)


class UpdateTaskRequest(pb.Message):
    container_id = pb.string(1)
    resources = pb.message(2, Any)
    annotations = pb.string_map(3)


class MetricsRequest(pb.Message):
    filters = pb.strings(1)


class MetricsResponse(pb.Message):
    metrics = pb.messages(1, Metric)


class WaitRequest(pb.Message):
    container_id = pb.string(1)
    exec_id = pb.string(2)


class WaitResponse(pb.Message):
    exit_status = pb.uint32(1)
    exited_at = pb.message(2, Timestamp)


_SERVICE = "containerd.services.tasks.v1.Tasks"


class Tasks:
    """The methods of ``containerd.services.tasks.v1.Tasks``."""

    create = Method(_SERVICE, "Create", CreateTaskRequest, CreateTaskResponse)
    start = Method(_SERVICE, "Start", StartRequest, StartResponse)
    delete = Method(_SERVICE, "Delete", DeleteTaskRequest, DeleteResponse)
    delete_process = Method(_SERVICE, "DeleteProcess", DeleteProcessRequest, DeleteResponse)
    get = Method(_SERVICE, "Get", GetRequest, GetResponse)
    list = Method(_SERVICE, "List", ListTasksRequest, ListTasksResponse)
    kill = Method(_SERVICE, "Kill", KillRequest, Empty)
    exec = Method(_SERVICE, "Exec", ExecProcessRequest, Empty)
    resize_pty = Method(_SERVICE, "ResizePty", ResizePtyRequest, Empty)
    close_io = Method(_SERVICE, "CloseIO", CloseIORequest, Empty)
    pause = Method(_SERVICE, "Pause", PauseTaskRequest, Empty)
    resume = Method(_SERVICE, "Resume", ResumeTaskRequest, Empty)
    list_pids = Method(_SERVICE, "ListPids", ListPidsRequest, ListPidsResponse)
    checkpoint = Method(_SERVICE, "Checkpoint", CheckpointTaskRequest, CheckpointTaskResponse)
    update = Method(_SERVICE, "Update", UpdateTaskRequest, Empty)
    metrics = Method(_SERVICE, "Metrics", MetricsRequest, MetricsResponse)
    wait = Method(_SERVICE, "Wait", WaitRequest, WaitResponse)
