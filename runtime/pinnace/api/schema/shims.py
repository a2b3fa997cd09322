"""The Task service of a shim (shim v2), as far as ``ctr shim`` speaks it; v3 differs by its name alone."""

from __future__ import annotations

from typing import NamedTuple

from pinnace.api import codec as pb
from pinnace.api.method import Method
from pinnace.api.schema.wellknown import Any, Empty, Timestamp

PACKAGE = "containerd.task.v2"


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


class Task(NamedTuple):
    """The methods of ``containerd.task.v2.Task`` or ``containerd.task.v3.Task``."""

    state: Method[StateRequest, StateResponse]
    start: Method[StartRequest, StartResponse]
    delete: Method[DeleteRequest, DeleteResponse]
    exec: Method[ExecProcessRequest, Empty]
    wait: Method[WaitRequest, WaitResponse]
    shutdown: Method[ShutdownRequest, Empty]


def service(version: int) -> Task:
    """The service of a version, 2 or 3."""
    name = f"containerd.task.v{version}.Task"
    return Task(
        Method(name, "State", StateRequest, StateResponse),
        Method(name, "Start", StartRequest, StartResponse),
        Method(name, "Delete", DeleteRequest, DeleteResponse),
        Method(name, "Exec", ExecProcessRequest, Empty),
        Method(name, "Wait", WaitRequest, WaitResponse),
        Method(name, "Shutdown", ShutdownRequest, Empty),
    )
