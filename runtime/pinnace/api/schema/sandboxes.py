"""The Sandbox store and the Sandbox controller: groups of containers that share an environment."""

from __future__ import annotations

from pinnace.api import codec as pb
from pinnace.api.method import Method
from pinnace.api.schema.types import Mount
from pinnace.api.schema.wellknown import Any, Timestamp

PACKAGE = "containerd.services.sandbox.v1"


class Runtime(pb.Message):
    name = pb.string(1)
    options = pb.message(2, Any)


class Sandbox(pb.Message):
    sandbox_id = pb.string(1)
    runtime = pb.message(2, Runtime)
    spec = pb.message(3, Any)
    labels = pb.string_map(4)
    created_at = pb.message(5, Timestamp)
    updated_at = pb.message(6, Timestamp)
    extensions = pb.message_map(7, Any)
    sandboxer = pb.string(10)


class StoreCreateRequest(pb.Message):
    sandbox = pb.message(1, Sandbox)


class StoreCreateResponse(pb.Message):
    sandbox = pb.message(1, Sandbox)


class StoreDeleteRequest(pb.Message):
    sandbox_id = pb.string(1)


class StoreDeleteResponse(pb.Message):
    pass


class StoreListRequest(pb.Message):
    filters = pb.strings(1)


class StoreListResponse(pb.Message):
    list = pb.messages(1, Sandbox)


class StoreGetRequest(pb.Message):
    sandbox_id = pb.string(1)


class StoreGetResponse(pb.Message):
    sandbox = pb.message(1, Sandbox)


class ControllerCreateRequest(pb.Message):
    sandbox_id = pb.string(1)
    rootfs = pb.messages(2, Mount)
    options = pb.message(3, Any)
    netns_path = pb.string(4)
    annotations = pb.string_map(5)
    sandbox = pb.message(6, Sandbox)
    sandboxer = pb.string(10)


class ControllerCreateResponse(pb.Message):
    sandbox_id = pb.string(1)


class ControllerStartRequest(pb.Message):
    sandbox_id = pb.string(1)
    sandboxer = pb.string(10)


class ControllerStartResponse(pb.Message):
    sandbox_id = pb.string(1)
    pid = pb.uint32(2)
    created_at = pb.message(3, Timestamp)
    labels = pb.string_map(4)


class ControllerStopRequest(pb.Message):
    sandbox_id = pb.string(1)
    timeout_secs = pb.uint32(2)
    sandboxer = pb.string(10)


class ControllerStopResponse(pb.Message):
    pass


class ControllerShutdownRequest(pb.Message):
    sandbox_id = pb.string(1)
    sandboxer = pb.string(10)


class ControllerShutdownResponse(pb.Message):
    pass


_STORE = "containerd.services.sandbox.v1.Store"
_CONTROLLER = "containerd.services.sandbox.v1.Controller"


class Store:
    """The methods of ``containerd.services.sandbox.v1.Store``."""

    create = Method(_STORE, "Create", StoreCreateRequest, StoreCreateResponse)
    delete = Method(_STORE, "Delete", StoreDeleteRequest, StoreDeleteResponse)
    list = Method(_STORE, "List", StoreListRequest, StoreListResponse)
    get = Method(_STORE, "Get", StoreGetRequest, StoreGetResponse)


class Controller:
    """The methods of ``containerd.services.sandbox.v1.Controller``."""

    create = Method(_CONTROLLER, "Create", ControllerCreateRequest, ControllerCreateResponse)
    start = Method(_CONTROLLER, "Start", ControllerStartRequest, ControllerStartResponse)
    stop = Method(_CONTROLLER, "Stop", ControllerStopRequest, ControllerStopResponse)
    shutdown = Method(
        _CONTROLLER, "Shutdown", ControllerShutdownRequest, ControllerShutdownResponse
    )
