"""``ctr snapshots diff``: what changed in a snapshot, as a layer on standard output."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pinnace.api.schema.content import Content, Info, ReadContentRequest, UpdateRequest
from pinnace.api.schema.diff import Diff, DiffRequest
from pinnace.api.schema.snapshots import (
    KIND_ACTIVE,
    MountsRequest,
    RemoveSnapshotRequest,
    Snapshots,
    StatSnapshotRequest,
    ViewSnapshotRequest,
)
from pinnace.api.schema.wellknown import FieldMask
from pinnace.cli import containers
from pinnace.cli.client import Client
from pinnace.cli.ctr.flags import SNAPSHOTTER_FLAG
from pinnace.cli.ctr.snapshots.roots import ROOT, kept
from pinnace.cli.options import Flag, switch, text, texts
from pinnace.cli.stdio import write_all
from pinnace.errors import DataLoss, InvalidArgument, NotFound

if TYPE_CHECKING:
    from pinnace.api.schema.types import Mount
    from pinnace.cli.options import Call

_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
USAGE = "[flags] <idA> [<idB>]"
FLAGS: tuple[Flag, ...] = (
    text("media-type", default=_LAYER, about="form of the layer"),
    text("ref", about="name of the upload while it is written"),
    switch("keep", about="keep the layer in the content store until it is deleted"),
    texts("label", about="label of the layer in the content store (KEY=VALUE)"),
    SNAPSHOTTER_FLAG,
)
DETAILS = "With one snapshot: against its parent. The layer itself goes to standard output."


def run(call: Call) -> int:
    if not 1 <= len(call.args) <= 2:
        raise InvalidArgument("please specify one or two snapshots")
    if os.isatty(1):
        raise InvalidArgument("a layer is not written to a terminal", hint="redirect it: > FILE")
    with Client.of(call) as client, containers.leased(client):
        left, right = _sides(client, call)
        labels = containers.parse_labels(call.texts("label"))
        try:
            request = DiffRequest(
                left=left.mounts, right=right.mounts, media_type=call.text("media-type"),
                ref=call.text("ref"), labels=labels,
            )  # fmt: skip
            made = client.call(Diff.diff, request).diff
        finally:
            left.close()
            right.close()
        if made is None:
            raise DataLoss("the daemon answered without a layer")
        if call.on("keep"):
            info = Info(
                digest=made.digest,
                labels=kept(),
            )
            mask = FieldMask(paths=[f"labels.{ROOT}"])
            client.call(Content.update, UpdateRequest(info=info, update_mask=mask))
        for answer in client.read(Content.read, ReadContentRequest(digest=made.digest)):
            write_all(1, answer.data)
    return 0


def _sides(client: Client, call: Call) -> tuple[_Side, _Side]:
    """What it was and what it became: parent and snapshot, or the two that were named."""
    snapshotter = call.text("snapshotter")
    if len(call.args) == 2:
        first, second = (_Side(client, snapshotter, name) for name in call.args)
        return first, second
    name = call.args[0]
    request = StatSnapshotRequest(snapshotter=snapshotter, key=name)
    info = client.call(Snapshots.stat, request).info
    if info is None:
        raise NotFound(f"snapshot {name} does not exist: not found")
    return _Side(client, snapshotter, info.parent), _Side(client, snapshotter, name)


class _Side:
    """A snapshot's mounts; a committed one is looked at through a view of it. ``""`` is nothing."""

    def __init__(self, client: Client, snapshotter: str, name: str) -> None:
        self._client = client
        self._snapshotter = snapshotter
        self._view = ""
        self.mounts: list[Mount] = []
        if not name:
            return
        stat = StatSnapshotRequest(snapshotter=snapshotter, key=name)
        info = client.call(Snapshots.stat, stat).info
        if info is not None and info.kind == KIND_ACTIVE:
            active = MountsRequest(snapshotter=snapshotter, key=name)
            self.mounts = client.call(Snapshots.mounts, active).mounts
            return
        key = f"ctr-diff-{os.urandom(6).hex()}"
        view = ViewSnapshotRequest(snapshotter=snapshotter, key=key, parent=name)
        self.mounts = client.call(Snapshots.view, view).mounts
        self._view = key

    def close(self) -> None:
        if self._view:
            request = RemoveSnapshotRequest(snapshotter=self._snapshotter, key=self._view)
            self._client.call(Snapshots.remove, request)
