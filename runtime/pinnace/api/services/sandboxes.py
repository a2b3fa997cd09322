"""The sandbox Store service: records of sandboxes, for clients that keep pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema import sandboxes as wire
from pinnace.api.schema.sandboxtypes import Sandbox
from pinnace.api.services import convert
from pinnace.errors import InvalidArgument
from pinnace.store.sandboxes import Sandbox as Record

if TYPE_CHECKING:
    from pinnace.api.server import Context
    from pinnace.daemon.daemon import Daemon

SCHEMA = wire.Store


class Service:
    def __init__(self, daemon: Daemon) -> None:
        self._sandboxes = daemon.store.sandboxes

    def create(
        self, request: wire.StoreCreateRequest, context: Context
    ) -> wire.StoreCreateResponse:
        found = self._sandboxes.create(context.namespace, _record(request.sandbox))
        return wire.StoreCreateResponse(sandbox=_message(found))

    def update(
        self, request: wire.StoreUpdateRequest, context: Context
    ) -> wire.StoreUpdateResponse:
        record = _record(request.sandbox)
        found = self._sandboxes.update(context.namespace, record, request.fields_)
        return wire.StoreUpdateResponse(sandbox=_message(found))

    def delete(
        self, request: wire.StoreDeleteRequest, context: Context
    ) -> wire.StoreDeleteResponse:
        self._sandboxes.delete(context.namespace, request.sandbox_id)
        return wire.StoreDeleteResponse()

    def list(self, request: wire.StoreListRequest, context: Context) -> wire.StoreListResponse:
        found = self._sandboxes.list(context.namespace, request.filters)
        return wire.StoreListResponse(list=[_message(item) for item in found])

    def get(self, request: wire.StoreGetRequest, context: Context) -> wire.StoreGetResponse:
        found = self._sandboxes.get(context.namespace, request.sandbox_id)
        return wire.StoreGetResponse(sandbox=_message(found))


def _message(record: Record) -> Sandbox:
    options = convert.any_message(record.runtime_options)
    return Sandbox(
        sandbox_id=record.id,
        runtime=Sandbox.Runtime(name=record.runtime_name, options=options),
        spec=convert.any_message(record.spec),
        labels=dict(record.labels),
        created_at=convert.timestamp(record.created_at),
        updated_at=convert.timestamp(record.updated_at),
        extensions={k: convert.any_message(v) for k, v in record.extensions.items()},
        sandboxer=record.sandboxer,
    )


def _record(message: Sandbox | None) -> Record:
    if message is None:
        raise InvalidArgument("sandbox must be set")
    runtime = message.runtime or Sandbox.Runtime()
    extensions = {key: convert.typed_value(value) for key, value in message.extensions.items()}
    return Record(
        id=message.sandbox_id,
        runtime_name=runtime.name,
        runtime_options=convert.typed_value(runtime.options),
        spec=convert.typed_value(message.spec),
        labels=message.labels,
        extensions={key: value for key, value in extensions.items() if value is not None},
        sandboxer=message.sandboxer,
    )
