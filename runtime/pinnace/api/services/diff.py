"""The Diff service: a layer onto a snapshot's mounts, and the other way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema import diff as wire
from pinnace.api.services import convert
from pinnace.daemon import differ

if TYPE_CHECKING:
    from pinnace.api.server import Context
    from pinnace.daemon.daemon import Daemon

SCHEMA = wire.Diff


class Service:
    def __init__(self, daemon: Daemon) -> None:
        self._content = daemon.store.content

    def apply(self, request: wire.ApplyRequest, context: Context) -> wire.ApplyResponse:
        layer = convert.descriptor_record(request.diff, "diff")
        mounts = convert.mount_records(request.mounts)
        applied = differ.apply(
            self._content, context.namespace, layer, mounts, sync=request.sync_fs
        )
        return wire.ApplyResponse(applied=convert.descriptor(applied))

    def diff(self, request: wire.DiffRequest, context: Context) -> wire.DiffResponse:
        made = differ.create(
            self._content,
            context.namespace,
            convert.mount_records(request.left),
            convert.mount_records(request.right),
            media_type=request.media_type,
            ref=request.ref,
            labels=request.labels,
            lease=context.lease,
        )
        return wire.DiffResponse(diff=convert.descriptor(made))
