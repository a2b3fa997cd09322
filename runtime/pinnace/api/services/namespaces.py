"""The Namespaces service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema import namespaces as wire
from pinnace.api.schema.wellknown import Empty
from pinnace.api.services import convert
from pinnace.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pinnace.api.server import Context
    from pinnace.daemon.daemon import Daemon

SCHEMA = wire.Namespaces


class Service:
    def __init__(self, daemon: Daemon) -> None:
        self._catalog = daemon.catalog
        self._namespaces = daemon.store.namespaces

    def get(self, request: wire.GetNamespaceRequest, context: Context) -> wire.GetNamespaceResponse:
        labels = self._namespaces.get(request.name)
        return wire.GetNamespaceResponse(namespace=_message(request.name, labels))

    def list(
        self, request: wire.ListNamespacesRequest, context: Context
    ) -> wire.ListNamespacesResponse:
        found = self._namespaces.list().items()
        return wire.ListNamespacesResponse(namespaces=[_message(*item) for item in found])

    def create(
        self, request: wire.CreateNamespaceRequest, context: Context
    ) -> wire.CreateNamespaceResponse:
        wanted = _wanted(request.namespace)
        labels = self._catalog.create_namespace(wanted.name, wanted.labels)
        return wire.CreateNamespaceResponse(namespace=_message(wanted.name, labels))

    def update(
        self, request: wire.UpdateNamespaceRequest, context: Context
    ) -> wire.UpdateNamespaceResponse:
        wanted = _wanted(request.namespace)
        paths = convert.paths(request.update_mask)
        labels = self._catalog.update_namespace(wanted.name, wanted.labels, paths)
        return wire.UpdateNamespaceResponse(namespace=_message(wanted.name, labels))

    def delete(self, request: wire.DeleteNamespaceRequest, context: Context) -> Empty:
        self._catalog.delete_namespace(request.name)
        return Empty()


def _message(name: str, labels: Mapping[str, str]) -> wire.Namespace:
    return wire.Namespace(name=name, labels=dict(labels))


def _wanted(namespace: wire.Namespace | None) -> wire.Namespace:
    if namespace is None:
        raise InvalidArgument("namespace must be set")
    return namespace
