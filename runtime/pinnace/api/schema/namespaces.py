"""The Namespaces service."""

from __future__ import annotations

from pinnace.api import codec as pb
from pinnace.api.method import Method
from pinnace.api.schema.wellknown import Empty, FieldMask

PACKAGE = "containerd.services.namespaces.v1"


class Namespace(pb.Message):
    name = pb.string(1)
    labels = pb.string_map(2)


class GetNamespaceRequest(pb.Message):
    name = pb.string(1)


class GetNamespaceResponse(pb.Message):
    namespace = pb.message(1, Namespace)


class ListNamespacesRequest(pb.Message):
    filter = pb.string(1)


class ListNamespacesResponse(pb.Message):
    namespaces = pb.messages(1, Namespace)


class CreateNamespaceRequest(pb.Message):
    namespace = pb.message(1, Namespace)


class CreateNamespaceResponse(pb.Message):
    namespace = pb.message(1, Namespace)


class UpdateNamespaceRequest(pb.Message):
    namespace = pb.message(1, Namespace)
    update_mask = pb.message(2, FieldMask)


class UpdateNamespaceResponse(pb.Message):
    namespace = pb.message(1, Namespace)


class DeleteNamespaceRequest(pb.Message):
    name = pb.string(1)


_SERVICE = "containerd.services.namespaces.v1.Namespaces"


class Namespaces:
    """The methods of ``containerd.services.namespaces.v1.Namespaces``."""

    get = Method(_SERVICE, "Get", GetNamespaceRequest, GetNamespaceResponse)
    list = Method(_SERVICE, "List", ListNamespacesRequest, ListNamespacesResponse)
    create = Method(_SERVICE, "Create", CreateNamespaceRequest, CreateNamespaceResponse)
    update = Method(_SERVICE, "Update", UpdateNamespaceRequest, UpdateNamespaceResponse)
    delete = Method(_SERVICE, "Delete", DeleteNamespaceRequest, Empty)
