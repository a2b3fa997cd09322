"""A task's processes as the Tasks service shows them."""

from __future__ import annotations

from pinnace.api import codec as pb
from pinnace.api.schema.wellknown import Any, Timestamp

PACKAGE = "containerd.v1.types"

# Status
STATUS_UNKNOWN = 0
STATUS_CREATED = 1
STATUS_RUNNING = 2
STATUS_STOPPED = 3
STATUS_PAUSED = 4
STATUS_PAUSING = 5


class Process(pb.Message):
    container_id = pb.string(1)
    id = pb.string(2)
    pid = pb.uint32(3)
    status = pb.enum(4)
    stdin = pb.string(5)
    stdout = pb.string(6)
    stderr = pb.string(7)
    terminal = pb.boolean(8)
    exit_status = pb.uint32(9)
    exited_at = pb.message(10, Timestamp)


class ProcessInfo(pb.Message):
    pid = pb.uint32(1)
    info = pb.message(2, Any)
