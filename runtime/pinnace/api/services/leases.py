"""The Leases service."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pinnace.api.schema import leases as wire
from pinnace.api.schema.wellknown import Empty
from pinnace.api.services import convert
from pinnace.errors import InvalidArgument
from pinnace.store.leases import Lease, Resource

if TYPE_CHECKING:
    from pinnace.api.server import Context
    from pinnace.daemon.daemon import Daemon

SCHEMA = wire.Leases


class Service:
    def __init__(self, daemon: Daemon) -> None:
        self._leases = daemon.store.leases
        self._collector = daemon.collector

    def create(self, request: wire.CreateRequest, context: Context) -> wire.CreateResponse:
        lease = Lease(request.id or os.urandom(16).hex(), request.labels)
        created = self._leases.create(context.namespace, lease)
        self._collector.leases_changed()
        return wire.CreateResponse(lease=_message(created))

    def delete(self, request: wire.DeleteRequest, context: Context) -> Empty:
        self._leases.delete(context.namespace, request.id)
        self._collector.freed(sync=request.sync)
        return Empty()

    def list(self, request: wire.ListRequest, context: Context) -> wire.ListResponse:
        found = self._leases.list(context.namespace, request.filters)
        return wire.ListResponse(leases=[_message(lease) for lease in found])

    def add_resource(self, request: wire.AddResourceRequest, context: Context) -> Empty:
        self._leases.add_resource(context.namespace, request.id, _resource(request.resource))
        return Empty()

    def delete_resource(self, request: wire.DeleteResourceRequest, context: Context) -> Empty:
        self._leases.delete_resource(context.namespace, request.id, _resource(request.resource))
        self._collector.changed()
        return Empty()

    def list_resources(
        self, request: wire.ListResourcesRequest, context: Context
    ) -> wire.ListResourcesResponse:
        found = self._leases.resources(context.namespace, request.id)
        return wire.ListResourcesResponse(
            resources=[wire.Resource(id=item.id, type=item.type) for item in found]
        )


def _message(lease: Lease) -> wire.Lease:
    return wire.Lease(
        id=lease.id, labels=dict(lease.labels), created_at=convert.timestamp(lease.created_at)
    )


def _resource(message: wire.Resource | None) -> Resource:
    if message is None:
        raise InvalidArgument("resource must be set")
    return Resource(message.type, message.id)
