"""The Containers service: what containers exist, running or not."""

from __future__ import annotations

from pinnace.api import codec as pb
from pinnace.api.method import Method
from pinnace.api.schema.wellknown import Any, Empty, FieldMask, Timestamp

PACKAGE = "containerd.services.containers.v1"


class Container(pb.Message):
    class Runtime(pb.Message):
        name = pb.string(1)
        options = pb.message(2, Any)

    id = pb.string(1)
    labels = pb.string_map(2)
    image = pb.string(3)
    runtime = pb.message(4, Runtime)
    spec = pb.message(5, Any)
    snapshotter = pb.string(6)
    snapshot_key = pb.string(7)
    created_at = pb.message(8, Timestamp)
    updated_at = pb.message(9, Timestamp)
    extensions = pb.message_map(10, Any)
    sandbox = pb.string(11)


class GetContainerRequest(pb.Message):
    id = pb.string(1)


class GetContainerResponse(pb.Message):
    container = pb.message(1, Container)


class ListContainersRequest(pb.Message):
    filters = pb.strings(1)


class ListContainersResponse(pb.Message):
    containers = pb.messages(1, Container)


class CreateContainerRequest(pb.Message):
    container = pb.message(1, Container)


class CreateContainerResponse(pb.Message):
    container = pb.message(1, Container)


class UpdateContainerRequest(pb.Message):
    container = pb.message(1, Container)
    update_mask = pb.message(2, FieldMask)


class UpdateContainerResponse(pb.Message):
    container = pb.message(1, Container)


class DeleteContainerRequest(pb.Message):
    id = pb.string(1)


class ListContainerMessage(pb.Message):
    container = pb.message(1, Container)


_SERVICE = "containerd.services.containers.v1.Containers"


class Containers:
    """The methods of ``containerd.services.containers.v1.Containers``."""

    get = Method(_SERVICE, "Get", GetContainerRequest, GetContainerResponse)
    list = Method(_SERVICE, "List", ListContainersRequest, ListContainersResponse)
    list_stream = Method(
        _SERVICE, "ListStream", ListContainersRequest, ListContainerMessage, response_stream=True
    )
    create = Method(_SERVICE, "Create", CreateContainerRequest, CreateContainerResponse)
    update = Method(_SERVICE, "Update", UpdateContainerRequest, UpdateContainerResponse)
    delete = Method(_SERVICE, "Delete", DeleteContainerRequest, Empty)
