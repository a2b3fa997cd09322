"""``ctr containers restore``: a container from a checkpoint, and start it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema import types
from pinnace.api.schema.containers import Container
from pinnace.api.schema.diff import ApplyRequest, Diff
from pinnace.cli import checkpoints, containers
from pinnace.cli.client import Client
from pinnace.cli.options import Flag, switch
from pinnace.cli.processes import Process, StdioWish, run_task
from pinnace.errors import InvalidArgument

if TYPE_CHECKING:
    from pinnace.cli.options import Call
    from pinnace.spec.image import Descriptor

USAGE = "[flags] CONTAINER REF"
FLAGS: tuple[Flag, ...] = (
    switch("rw", about="with what the container had written"),
    switch("live", about="with its memory: it goes on where it was (takes criu)"),
)
DETAILS = "Exits with the status of the container's process."


def run(call: Call) -> int:
    container_id = call.argument(0, "container id must be provided")
    name = call.argument(1, "ref must be provided")
    if len(call.args) > 2:
        raise InvalidArgument(f"unexpected argument {call.args[2]}")
    with Client.of(call) as client:
        with containers.leased(client):
            found = checkpoints.Checkpoint(client, name)
            container = _create(client, container_id, found, rw=call.on("rw"))
        memory = found.pieces.get(checkpoints.MEMORY)
        if call.on("live") and memory is None:
            raise InvalidArgument(f"{name} has no memory of a task: --live has nothing to restore")
        process = containers.spec_of(container).get("process") or {}
        return run_task(
            Process(client, container_id), container,
            StdioWish(terminal=bool(process.get("terminal"))), detach=False, pid_file="",
            checkpoint=_message(memory) if call.on("live") and memory else None,
        )  # fmt: skip


def _create(
    client: Client, container_id: str, found: checkpoints.Checkpoint, *, rw: bool
) -> Container:
    spec = found.packed(checkpoints.SPEC)
    if spec is None:
        raise InvalidArgument("the checkpoint has no specification")
    layer = found.layer() if rw else None
    if rw and layer is None:
        raise InvalidArgument("the checkpoint has no written layer: --rw has nothing to restore")
    contents = containers.image_contents(client, found.image, "", found.snapshotter)
    mounts = containers.prepare_snapshot(
        client, found.snapshotter, container_id, contents.chain_id, {}
    )
    try:
        if layer is not None:
            root = [
                types.Mount(type=each.type, source=each.source, options=list(each.options))
                for each in mounts
            ]
            client.call(Diff.apply, ApplyRequest(diff=_message(layer), mounts=root))
        record = Container(
            id=container_id,
            image=found.image,
            runtime=Container.Runtime(
                name=found.runtime, options=found.packed(checkpoints.OPTIONS)
            ),
            spec=spec,
            snapshotter=found.snapshotter,
            snapshot_key=container_id,
        )
        return containers.create(client, record)
    except BaseException:
        containers.discard(client, found.snapshotter, container_id)
        raise


def _message(piece: Descriptor) -> types.Descriptor:
    return types.Descriptor(media_type=piece.media_type, digest=str(piece.digest), size=piece.size)
