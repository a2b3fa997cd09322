"""``ctr containers checkpoint``: what makes a container, as an image."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pinnace.api.schema.diff import Diff, DiffRequest
from pinnace.api.schema.snapshots import (
    RemoveSnapshotRequest,
    Snapshots,
    StatSnapshotRequest,
    ViewSnapshotRequest,
)
from pinnace.cli import checkpoints, containers, images
from pinnace.cli.client import Client
from pinnace.cli.options import Flag, switch
from pinnace.errors import DataLoss, InvalidArgument
from pinnace.spec.digest import Digest
from pinnace.spec.image import OCI_LAYER_GZIP, Descriptor

if TYPE_CHECKING:
    from pinnace.api.schema.containers import Container
    from pinnace.cli.options import Call

USAGE = "[flags] CONTAINER REF"
FLAGS: tuple[Flag, ...] = (
    switch("rw", about="with what the container has written"),
    switch("image", about="with the image it was made from"),
    switch("task", about="with its memory (takes criu)"),
)


def run(call: Call) -> int:
    container_id = call.argument(0, "container id must be provided")
    name = call.argument(1, "ref must be provided")
    if len(call.args) > 2:
        raise InvalidArgument(f"unexpected argument {call.args[2]}")
    with Client.of(call) as client, containers.leased(client):
        container = containers.get(client, container_id)
        pieces: list[Descriptor] = []
        if call.on("task"):
            pieces += checkpoints.task(client, container_id)
        if call.on("image"):
            pieces.append(images.target_of(images.get(client, container.image)))
        if call.on("rw"):
            pieces.append(_written(client, container))
        checkpoints.store(client, container, name, pieces)
    return 0


def _written(client: Client, container: Container) -> Descriptor:
    """The difference between the container's snapshot and the one below it."""
    snapshotter, key = container.snapshotter, container.snapshot_key
    if not key:
        raise InvalidArgument(f"container {container.id} has no snapshot: --rw has nothing to take")
    stat = StatSnapshotRequest(snapshotter=snapshotter, key=key)
    info = client.call(Snapshots.stat, stat).info
    parent = info.parent if info else ""
    view = f"ctr-checkpoint-{os.urandom(6).hex()}"
    request = ViewSnapshotRequest(snapshotter=snapshotter, key=view, parent=parent)
    left = client.call(Snapshots.view, request).mounts
    try:
        right = containers.snapshot_mounts(client, container)
        diff = DiffRequest(left=left, right=right, media_type=OCI_LAYER_GZIP)
        made = client.call(Diff.diff, diff).diff
    finally:
        client.call(Snapshots.remove, RemoveSnapshotRequest(snapshotter=snapshotter, key=view))
    if made is None:
        raise DataLoss("the daemon answered without a layer")
    return Descriptor(made.media_type, Digest.parse(made.digest), made.size)
