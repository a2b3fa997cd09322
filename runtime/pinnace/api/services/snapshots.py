"""The Snapshots service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema import snapshots as wire
from pinnace.api.schema.wellknown import Empty
from pinnace.api.services import convert
from pinnace.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pinnace.api.server import Context
    from pinnace.daemon.daemon import Daemon
    from pinnace.store.snapshots import Info, Snapshotter

SCHEMA = wire.Snapshots

_PAGE = 100
_KINDS = {"view": wire.KIND_VIEW, "active": wire.KIND_ACTIVE, "committed": wire.KIND_COMMITTED}


class Service:
    def __init__(self, daemon: Daemon) -> None:
        self._catalog = daemon.catalog
        self._store = daemon.store

    def _snapshotter(self, name: str) -> Snapshotter:
        return self._store.snapshotter(name)

    def prepare(
        self, request: wire.PrepareSnapshotRequest, context: Context
    ) -> wire.PrepareSnapshotResponse:
        mounts = self._catalog.prepare_snapshot(
            context.namespace,
            request.snapshotter,
            request.key,
            request.parent,
            request.labels,
            lease=context.lease,
        )
        return wire.PrepareSnapshotResponse(mounts=convert.mounts(mounts))

    def view(
        self, request: wire.ViewSnapshotRequest, context: Context
    ) -> wire.ViewSnapshotResponse:
        mounts = self._snapshotter(request.snapshotter).view(
            context.namespace, request.key, request.parent, request.labels, lease=context.lease
        )
        return wire.ViewSnapshotResponse(mounts=convert.mounts(mounts))

    def mounts(self, request: wire.MountsRequest, context: Context) -> wire.MountsResponse:
        found = self._snapshotter(request.snapshotter).mounts(context.namespace, request.key)
        return wire.MountsResponse(mounts=convert.mounts(found))

    def commit(self, request: wire.CommitSnapshotRequest, context: Context) -> Empty:
        self._catalog.commit_snapshot(
            context.namespace,
            request.snapshotter,
            request.name,
            request.key,
            request.labels,
            lease=context.lease,
        )
        return Empty()

    def remove(self, request: wire.RemoveSnapshotRequest, context: Context) -> Empty:
        self._catalog.remove_snapshot(context.namespace, request.snapshotter, request.key)
        return Empty()

    def stat(
        self, request: wire.StatSnapshotRequest, context: Context
    ) -> wire.StatSnapshotResponse:
        info = self._snapshotter(request.snapshotter).stat(context.namespace, request.key)
        return wire.StatSnapshotResponse(info=_message(info))

    def update(
        self, request: wire.UpdateSnapshotRequest, context: Context
    ) -> wire.UpdateSnapshotResponse:
        if request.info is None:
            raise InvalidArgument("snapshot info must be set")
        info = self._snapshotter(request.snapshotter).update(
            context.namespace,
            request.info.name,
            request.info.labels,
            convert.paths(request.update_mask),
        )
        return wire.UpdateSnapshotResponse(info=_message(info))

    def list(
        self, request: wire.ListSnapshotsRequest, context: Context
    ) -> Iterator[wire.ListSnapshotsResponse]:
        page: list[wire.Info] = []
        for info in self._snapshotter(request.snapshotter).walk(context.namespace, request.filters):
            page.append(_message(info))
            if len(page) == _PAGE:
                yield wire.ListSnapshotsResponse(info=page)
                page = []
        if page:
            yield wire.ListSnapshotsResponse(info=page)

    def usage(self, request: wire.UsageRequest, context: Context) -> wire.UsageResponse:
        found = self._snapshotter(request.snapshotter).usage(context.namespace, request.key)
        return wire.UsageResponse(size=found.size, inodes=found.inodes)

    def cleanup(self, request: wire.CleanupRequest, context: Context) -> Empty:
        # Directories are removed with their record; nothing is left for later.
        self._snapshotter(request.snapshotter)
        return Empty()


def _message(info: Info) -> wire.Info:
    return wire.Info(
        name=info.name,
        parent=info.parent,
        kind=_KINDS[info.kind],
        created_at=convert.timestamp(info.created_at),
        updated_at=convert.timestamp(info.updated_at),
        labels=dict(info.labels),
    )
