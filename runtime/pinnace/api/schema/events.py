"""The events that the daemon publishes, by topic in ``daemon/events``."""

from __future__ import annotations

from pinnace.api import codec as pb
from pinnace.api.schema.types import Mount
from pinnace.api.schema.wellknown import Any, Timestamp

PACKAGE = "containerd.events"


class ContainerCreate(pb.Message):
    class Runtime(pb.Message):
        name = pb.string(1)
        options = pb.message(2, Any)

    id = pb.string(1)
    image = pb.string(2)
    runtime = pb.message(3, Runtime)


class ContainerUpdate(pb.Message):
    id = pb.string(1)
    image = pb.string(2)
    labels = pb.string_map(3)
    snapshot_key = pb.string(4)


class ContainerDelete(pb.Message):
    id = pb.string(1)


class ContentCreate(pb.Message):
    digest = pb.string(1)
    size = pb.int64(2)


class ContentDelete(pb.Message):
    digest = pb.string(1)


class NamespaceCreate(pb.Message):
    name = pb.string(1)
    labels = pb.string_map(2)


class NamespaceUpdate(pb.Message):
    name = pb.string(1)
    labels = pb.string_map(2)


class NamespaceDelete(pb.Message):
    name = pb.string(1)


class SnapshotPrepare(pb.Message):
    key = pb.string(1)
    parent = pb.string(2)
    snapshotter = pb.string(5)


class SnapshotCommit(pb.Message):
    key = pb.string(1)
    name = pb.string(2)
    snapshotter = pb.string(5)


class SnapshotRemove(pb.Message):
    key = pb.string(1)
    snapshotter = pb.string(5)


class TaskIO(pb.Message):
    stdin = pb.string(1)
    stdout = pb.string(2)
    stderr = pb.string(3)
    terminal = pb.boolean(4)


class TaskCreate(pb.Message):
    container_id = pb.string(1)
    bundle = pb.string(2)
    rootfs = pb.messages(3, Mount)
    io = pb.message(4, TaskIO)
    checkpoint = pb.string(5)
    pid = pb.uint32(6)


class TaskStart(pb.Message):
    container_id = pb.string(1)
    pid = pb.uint32(2)


class TaskDelete(pb.Message):
    container_id = pb.string(1)
    pid = pb.uint32(2)
    exit_status = pb.uint32(3)
    exited_at = pb.message(4, Timestamp)
    id = pb.string(5)


class TaskExit(pb.Message):
    container_id = pb.string(1)
    id = pb.string(2)
    pid = pb.uint32(3)
    exit_status = pb.uint32(4)
    exited_at = pb.message(5, Timestamp)


class TaskOOM(pb.Message):
    container_id = pb.string(1)


class TaskExecAdded(pb.Message):
    container_id = pb.string(1)
    exec_id = pb.string(2)


class TaskExecStarted(pb.Message):
    container_id = pb.string(1)
    exec_id = pb.string(2)
    pid = pb.uint32(3)


class TaskPaused(pb.Message):
    container_id = pb.string(1)


class TaskResumed(pb.Message):
    container_id = pb.string(1)


class TaskCheckpointed(pb.Message):
    container_id = pb.string(1)
    checkpoint = pb.string(2)
