"""The Containers service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema import containers as wire
from pinnace.api.schema.wellknown import Empty
from pinnace.api.services import convert
from pinnace.errors import InvalidArgument
from pinnace.store.containers import Container

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pinnace.api.server import Context
    from pinnace.daemon.daemon import Daemon

SCHEMA = wire.Containers


class Service:
    def __init__(self, daemon: Daemon) -> None:
        self._catalog = daemon.catalog
        self._containers = daemon.store.containers

    def get(self, request: wire.GetContainerRequest, context: Context) -> wire.GetContainerResponse:
        found = self._containers.get(context.namespace, request.id)
        return wire.GetContainerResponse(container=_message(found))

    def list(
        self, request: wire.ListContainersRequest, context: Context
    ) -> wire.ListContainersResponse:
        found = self._containers.list(context.namespace, request.filters)
        return wire.ListContainersResponse(containers=[_message(item) for item in found])

    def list_stream(
        self, request: wire.ListContainersRequest, context: Context
    ) -> Iterator[wire.ListContainerMessage]:
        for item in self._containers.list(context.namespace, request.filters):
            yield wire.ListContainerMessage(container=_message(item))

    def create(
        self, request: wire.CreateContainerRequest, context: Context
    ) -> wire.CreateContainerResponse:
        found = self._catalog.create_container(context.namespace, _record(request.container))
        return wire.CreateContainerResponse(container=_message(found))

    def update(
        self, request: wire.UpdateContainerRequest, context: Context
    ) -> wire.UpdateContainerResponse:
        record = _record(request.container)
        paths = convert.paths(request.update_mask)
        found = self._catalog.update_container(context.namespace, record, paths)
        return wire.UpdateContainerResponse(container=_message(found))

    def delete(self, request: wire.DeleteContainerRequest, context: Context) -> Empty:
        self._catalog.delete_container(context.namespace, request.id)
        return Empty()


def _message(record: Container) -> wire.Container:
    options = convert.any_message(record.runtime_options)
    return wire.Container(
        id=record.id,
        labels=dict(record.labels),
        image=record.image,
        runtime=wire.Container.Runtime(name=record.runtime_name, options=options),
        spec=convert.any_message(record.spec),
        snapshotter=record.snapshotter,
        snapshot_key=record.snapshot_key,
        created_at=convert.timestamp(record.created_at),
        updated_at=convert.timestamp(record.updated_at),
        extensions={k: convert.any_message(v) for k, v in record.extensions.items()},
        sandbox=record.sandbox,
    )


def _record(message: wire.Container | None) -> Container:
    if message is None:
        raise InvalidArgument("container must be set")
    runtime = message.runtime or wire.Container.Runtime()
    extensions = {key: convert.typed_value(value) for key, value in message.extensions.items()}
    return Container(
        id=message.id,
        spec=convert.typed_value(message.spec),
        runtime_name=runtime.name,
        runtime_options=convert.typed_value(runtime.options),
        image=message.image,
        labels=message.labels,
        snapshotter=message.snapshotter,
        snapshot_key=message.snapshot_key,
        extensions={key: value for key, value in extensions.items() if value is not None},
        sandbox=message.sandbox,
    )
