"""``ctr images mount``: an image's file system at a directory."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from pinnace.api.schema import leases as leases_api
from pinnace.api.schema import snapshots as snapshots_api
from pinnace.cli import containers, images, unpack
from pinnace.cli.client import Client
from pinnace.cli.ctr.flags import PLATFORM, SNAPSHOTTER_FLAG, SYNC_FS
from pinnace.cli.options import Flag, duration, switch, texts
from pinnace.errors import AlreadyExists, Error, InvalidArgument
from pinnace.linux.mount import mount_all
from pinnace.spec import platform as platforms

if TYPE_CHECKING:
    from pinnace.api.schema.types import Mount
    from pinnace.cli.options import Call

USAGE = "[flags] <ref> [<target>]"
FLAGS: tuple[Flag, ...] = (
    switch("rw", about="let it be written to; what is written is kept in a snapshot"),
    PLATFORM,
    SYNC_FS,
    duration("expiration", default=86400.0, about="how long an unmounted snapshot is kept (0s: no limit)"),
    SNAPSHOTTER_FLAG,
    texts("label", about="label of the snapshot (KEY=VALUE)"),
)  # fmt: skip
DETAILS = "Without <target> the snapshot is prepared and its mounts are printed."


def run(call: Call) -> int:
    name = call.argument(0, "please provide an image reference to mount")
    target = call.args[1] if len(call.args) > 1 else ""
    if len(call.args) > 2:
        raise InvalidArgument(f"unexpected argument {call.args[2]}")
    if target and not os.path.isdir(target):
        raise InvalidArgument(f"{target} is not a directory")
    snapshotter = call.text("snapshotter")
    wanted = platforms.parse(call.text("platform")) if call.text("platform") else None
    with Client.of(call) as client:
        contents = images.contents(client, images.get(client, name), wanted)
        key = target or f"{contents.chain_id}-mount-{os.urandom(4).hex()}"
        with _lease(client, call, key):
            unpack.ensure(client, contents, snapshotter, sync_fs=call.on("sync-fs"))
            mounts = _snapshot(client, call, key, contents.chain_id)
        sys.stdout.write(f"{contents.chain_id}\n")
        if target:
            _mount(client, mounts, snapshotter, key, target)
        else:
            from pinnace.cli.ctr.snapshots.mounting import print_json

            print_json(mounts)
    return 0


class _lease:  # noqa: N801 (used as a context)
    """A lease named after the mount: it keeps the snapshot until it expires or is deleted."""

    def __init__(self, client: Client, call: Call, key: str) -> None:
        self._client = client
        self._id = key
        self._seconds = call.seconds("expiration")

    def __enter__(self) -> None:
        labels = {}
        if self._seconds:
            end = time.gmtime(time.time() + self._seconds)
            labels["containerd.io/gc.expire"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", end)
        try:
            request = leases_api.CreateRequest(id=self._id, labels=labels)
            self._client.call(leases_api.Leases.create, request)
        except AlreadyExists:
            pass  # mounted there before
        self._client.lease = self._id

    def __exit__(self, kind: object, *_: object) -> None:
        self._client.lease = ""
        if kind is not None:
            self._client.call(leases_api.Leases.delete, leases_api.DeleteRequest(id=self._id))


def _snapshot(client: Client, call: Call, key: str, parent: str) -> list[Mount]:
    service = snapshots_api.Snapshots
    snapshotter, labels = call.text("snapshotter"), containers.parse_labels(call.texts("label"))
    try:
        if call.on("rw"):
            prepare = snapshots_api.PrepareSnapshotRequest(
                snapshotter=snapshotter, key=key, parent=parent, labels=labels
            )
            return client.call(service.prepare, prepare).mounts
        view = snapshots_api.ViewSnapshotRequest(
            snapshotter=snapshotter, key=key, parent=parent, labels=labels
        )
        return client.call(service.view, view).mounts
    except AlreadyExists:
        request = snapshots_api.MountsRequest(snapshotter=snapshotter, key=key)
        return client.call(service.mounts, request).mounts


def _mount(client: Client, mounts: list[Mount], snapshotter: str, key: str, target: str) -> None:
    try:
        mount_all(containers.mounts_of(mounts), target)
    except OSError as problem:
        containers.discard(client, snapshotter, key)
        raise Error(f"mounting at {target}: {problem.strerror}") from None
    sys.stdout.write(f"{target}\n")
