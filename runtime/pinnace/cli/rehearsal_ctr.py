"""The motions of ``ctr run``, without any effect: its own steps, over a connection whose other end has every answer ready.

For what that is good for see :mod:`pinnace.cli.rehearsal`.
"""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

from pinnace.api import frames, grpc, hpack
from pinnace.api.client import Channel
from pinnace.api.http2 import Connection
from pinnace.api.schema import containers as containers_api
from pinnace.api.schema import content as content_api
from pinnace.api.schema import images as images_api
from pinnace.api.schema import leases as leases_api
from pinnace.api.schema import snapshots as snapshots_api
from pinnace.api.schema import tasks as tasks_api
from pinnace.api.schema.types import Descriptor, Mount
from pinnace.api.schema.wellknown import Empty
from pinnace.cli import containers, ctr, options
from pinnace.cli.client import Client
from pinnace.cli.ctr.containers.building import build
from pinnace.cli.processes import Process, StdioWish
from pinnace.spec import image as documents
from pinnace.spec import platform as platforms
from pinnace.spec.digest import sha256

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pinnace.api.codec import Message
    from pinnace.api.method import Method

_NAME = "localhost/rehearsal:1"
_OPENING = hpack.encode([(":status", "200"), ("content-type", grpc.CONTENT_TYPE)])
_CLOSING = hpack.encode([("grpc-status", "0")])


def run() -> None:
    """Go through them. Raises Error, OSError."""
    theirs, ours = socket.socketpair()
    with theirs:
        channel = _Scripted(ours, theirs, _answers())
        with Client("", "default", channel=channel) as client:
            call = options.parse(ctr.APP, ["run", "--rm", "--null-io", _NAME, "rehearsal", "true"])
            container, mounts, settle = build(client, call)
            process = Process(client, container.id)
            process.create_task(container, StdioWish(terminal=False, null=True), mounts=mounts)
            process.start()
            process.wait()
            process.delete()
            containers.delete(client, container, keep_snapshot=False)
            settle()


class _Scripted(Channel):
    """A channel over ``ours`` that has the answer to each call arrive as soon as it is made."""

    def __init__(
        self, ours: socket.socket, theirs: socket.socket, answers: dict[str, Iterable[Message]]
    ) -> None:
        super().__init__("", namespace="default")
        self._ours, self._theirs = ours, theirs
        self._answers = {path: iter(each) for path, each in answers.items()}
        self._next = 1

    def stream(self, method: Method[Any, Any], *args: Any, **named: Any) -> Any:
        call = super().stream(method, *args, **named)
        message = grpc.framed(next(self._answers[method.path]).encode())
        number, self._next = self._next, self._next + 2
        self._theirs.sendall(
            frames.frame(frames.HEADERS, frames.END_HEADERS, number, _OPENING)
            + frames.frame(frames.DATA, 0, number, message)
            + frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, number, _CLOSING)
        )
        return call

    def _connect(self) -> Connection:
        connection = Connection(self._ours)
        connection.start()
        return connection


def _answers() -> dict[str, Iterable[Message]]:
    """By the path of a method what its calls get, in their order."""
    manifest, config = _image()
    target = Descriptor(
        media_type=documents.OCI_MANIFEST, digest=str(sha256(manifest)), size=len(manifest)
    )
    options = ["index=off", "workdir=/", "upperdir=/", "lowerdir=/"]
    mounts = [Mount(type="overlay", source="overlay", options=options)]
    record = containers_api.Container(
        id="rehearsal", snapshotter="overlayfs", snapshot_key="rehearsal"
    )
    tasks = tasks_api.Tasks
    return {
        leases_api.Leases.create.path: [leases_api.CreateResponse()],
        images_api.Images.get.path: [images_api.GetImageResponse(image=images_api.Image(name=_NAME, target=target))],
        content_api.Content.read.path: [content_api.ReadContentResponse(data=each) for each in (manifest, config)],
        snapshots_api.Snapshots.prepare.path: [snapshots_api.PrepareSnapshotResponse(mounts=mounts)],
        containers_api.Containers.create.path: [containers_api.CreateContainerResponse(container=record)],
        leases_api.Leases.delete.path: [Empty()],
        tasks.create.path: [tasks_api.CreateTaskResponse(container_id="rehearsal", pid=1)],
        tasks.start.path: [tasks_api.StartResponse(pid=1)],
        tasks.wait.path: [tasks_api.WaitResponse()],
        tasks.delete.path: [tasks_api.DeleteResponse()],
        snapshots_api.Snapshots.remove.path: [Empty()],
        containers_api.Containers.delete.path: [Empty()],
    }  # fmt: skip


def _image() -> tuple[bytes, bytes]:
    """A manifest and its configuration, of one layer."""
    platform = documents.platform_json(platforms.default())
    settings = {"Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["sh"]}
    layer = str(sha256(b""))
    root = {"type": "layers", "diff_ids": [layer]}
    config = json.dumps({**platform, "config": settings, "rootfs": root}).encode()
    manifest = {
        "schemaVersion": 2, "mediaType": documents.OCI_MANIFEST,
        "config": {"mediaType": documents.OCI_CONFIG, "digest": str(sha256(config)), "size": len(config)},
        "layers": [{"mediaType": documents.OCI_LAYER_GZIP, "digest": layer, "size": 1}],
    }  # fmt: skip
    return json.dumps(manifest).encode(), config
