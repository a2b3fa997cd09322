"""The Snapshots service."""

from __future__ import annotations

from pinnace.api import codec as pb
from pinnace.api.method import Method
from pinnace.api.schema.types import Mount
from pinnace.api.schema.wellknown import Empty, FieldMask, Timestamp

PACKAGE = "containerd.services.snapshots.v1"

# Kind
KIND_UNKNOWN = 0
KIND_VIEW = 1
KIND_ACTIVE = 2
KIND_COMMITTED = 3


class PrepareSnapshotRequest(pb.Message):
    snapshotter = pb.string(1)
    key = pb.string(2)
    parent = pb.string(3)
    labels = pb.string_map(4)


class PrepareSnapshotResponse(pb.Message):
    mounts = pb.messages(1, Mount)


class ViewSnapshotRequest(pb.Message):
    snapshotter = pb.string(1)
    key = pb.string(2)
    parent = pb.string(3)
    labels = pb.string_map(4)


class ViewSnapshotResponse(pb.Message):
    mounts = pb.messages(1, Mount)


class MountsRequest(pb.Message):
    snapshotter = pb.string(1)
    key = pb.string(2)


class MountsResponse(pb.Message):
    mounts = pb.messages(1, Mount)


class RemoveSnapshotRequest(pb.Message):
    snapshotter = pb.string(1)
    key = pb.string(2)


class CommitSnapshotRequest(pb.Message):
    snapshotter = pb.string(1)
    name = pb.string(2)
    key = pb.string(3)
    labels = pb.string_map(4)


class StatSnapshotRequest(pb.Message):
    snapshotter = pb.string(1)
    key = pb.string(2)


class Info(pb.Message):
    name = pb.string(1)
    parent = pb.string(2)
    kind = pb.enum(3)
    created_at = pb.message(4, Timestamp)
    updated_at = pb.message(5, Timestamp)
    labels = pb.string_map(6)


class StatSnapshotResponse(pb.Message):
    info = pb.message(1, Info)


class UpdateSnapshotRequest(pb.Message):
    snapshotter = pb.string(1)
    info = pb.message(2, Info)
    update_mask = pb.message(3, FieldMask)


class UpdateSnapshotResponse(pb.Message):
    info = pb.message(1, Info)


class ListSnapshotsRequest(pb.Message):
    snapshotter = pb.string(1)
    filters = pb.strings(2)


class ListSnapshotsResponse(pb.Message):
    info = pb.messages(1, Info)


class UsageRequest(pb.Message):
    snapshotter = pb.string(1)
    key = pb.string(2)


class UsageResponse(pb.Message):
    size = pb.int64(1)
    inodes = pb.int64(2)


class CleanupRequest(pb.Message):
    snapshotter = pb.string(1)


_SERVICE = "containerd.services.snapshots.v1.Snapshots"


class Snapshots:
    """The methods of ``containerd.services.snapshots.v1.Snapshots``."""

    prepare = Method(_SERVICE, "Prepare", PrepareSnapshotRequest, PrepareSnapshotResponse)
    view = Method(_SERVICE, "View", ViewSnapshotRequest, ViewSnapshotResponse)
    mounts = Method(_SERVICE, "Mounts", MountsRequest, MountsResponse)
    commit = Method(_SERVICE, "Commit", CommitSnapshotRequest, Empty)
    remove = Method(_SERVICE, "Remove", RemoveSnapshotRequest, Empty)
    stat = Method(_SERVICE, "Stat", StatSnapshotRequest, StatSnapshotResponse)
    update = Method(_SERVICE, "Update", UpdateSnapshotRequest, UpdateSnapshotResponse)
    list = Method(
        _SERVICE, "List", ListSnapshotsRequest, ListSnapshotsResponse, response_stream=True
    )
    usage = Method(_SERVICE, "Usage", UsageRequest, UsageResponse)
    cleanup = Method(_SERVICE, "Cleanup", CleanupRequest, Empty)
