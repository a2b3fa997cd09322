"""The Leases service: what the garbage collector must leave alone."""

from __future__ import annotations

from pinnace.api import codec as pb
from pinnace.api.method import Method
from pinnace.api.schema.wellknown import Empty, Timestamp

PACKAGE = "containerd.services.leases.v1"


class Lease(pb.Message):
    id = pb.string(1)
    created_at = pb.message(2, Timestamp)
    labels = pb.string_map(3)


class CreateRequest(pb.Message):
    id = pb.string(1)
    labels = pb.string_map(3)


class CreateResponse(pb.Message):
    lease = pb.message(1, Lease)


class DeleteRequest(pb.Message):
    id = pb.string(1)
    sync = pb.boolean(2)


class ListRequest(pb.Message):
    filters = pb.strings(1)


class ListResponse(pb.Message):
    leases = pb.messages(1, Lease)


class Resource(pb.Message):
    id = pb.string(1)
    type = pb.string(2)


class AddResourceRequest(pb.Message):
    id = pb.string(1)
    resource = pb.message(2, Resource)


class DeleteResourceRequest(pb.Message):
    id = pb.string(1)
    resource = pb.message(2, Resource)


class ListResourcesRequest(pb.Message):
    id = pb.string(1)


class ListResourcesResponse(pb.Message):
    resources = pb.messages(1, Resource)


_SERVICE = "containerd.services.leases.v1.Leases"


class Leases:
    """The methods of ``containerd.services.leases.v1.Leases``."""

    create = Method(_SERVICE, "Create", CreateRequest, CreateResponse)
    delete = Method(_SERVICE, "Delete", DeleteRequest, Empty)
    list = Method(_SERVICE, "List", ListRequest, ListResponse)
    add_resource = Method(_SERVICE, "AddResource", AddResourceRequest, Empty)
    delete_resource = Method(_SERVICE, "DeleteResource", DeleteResourceRequest, Empty)
    list_resources = Method(_SERVICE, "ListResources", ListResourcesRequest, ListResourcesResponse)
