"""The sandbox services: records of groups of containers (Store), and their lives (Controller)."""

from __future__ import annotations

from pinnace.api import codec as pb
from pinnace.api.method import Method
from pinnace.api.schema.sandboxtypes import Sandbox
from pinnace.api.schema.types import Metric, Mount, Platform
from pinnace.api.schema.wellknown import Any, Timestamp

PACKAGE = "containerd.services.sandbox.v1"


class StoreCreateRequest(pb.Message):
    sandbox = pb.message(1, Sandbox)


class StoreCreateResponse(pb.Message):
    sandbox = pb.message(1, Sandbox)


class StoreUpdateRequest(pb.Message):
    sandbox = pb.message(1, Sandbox)
    fields_ = pb.strings(2)


class StoreUpdateResponse(pb.Message):
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
    address = pb.string(5)
    version = pb.uint32(6)


class ControllerPlatformRequest(pb.Message):
    sandbox_id = pb.string(1)
    sandboxer = pb.string(10)


class ControllerPlatformResponse(pb.Message):
    platform = pb.message(1, Platform)


class ControllerStopRequest(pb.Message):
    sandbox_id = pb.string(1)
    timeout_secs = pb.uint32(2)
    sandboxer = pb.string(10)


class ControllerStopResponse(pb.Message):
    pass


class ControllerWaitRequest(pb.Message):
    sandbox_id = pb.string(1)
    sandboxer = pb.string(10)


class ControllerWaitResponse(pb.Message):
    exit_status = pb.uint32(1)
    exited_at = pb.message(2, Timestamp)


class ControllerStatusRequest(pb.Message):
    sandbox_id = pb.string(1)
    verbose = pb.boolean(2)
    sandboxer = pb.string(10)


class ControllerStatusResponse(pb.Message):
    sandbox_id = pb.string(1)
    pid = pb.uint32(2)
    state = pb.string(3)
    info = pb.string_map(4)
    created_at = pb.message(5, Timestamp)
    exited_at = pb.message(6, Timestamp)
    extra = pb.message(7, Any)
    address = pb.string(8)
    version = pb.uint32(9)


class ControllerShutdownRequest(pb.Message):
    sandbox_id = pb.string(1)
    sandboxer = pb.string(10)


class ControllerShutdownResponse(pb.Message):
    pass


class ControllerMetricsRequest(pb.Message):
    sandbox_id = pb.string(1)
    sandboxer = pb.string(10)


class ControllerMetricsResponse(pb.Message):
    metrics = pb.message(1, Metric)


class ControllerUpdateRequest(pb.Message):
    sandbox_id = pb.string(1)
    sandboxer = pb.string(2)
    sandbox = pb.message(3, Sandbox)
    fields_ = pb.strings(4)


class ControllerUpdateResponse(pb.Message):
    pass


_STORE = "containerd.services.sandbox.v1.Store"
_CONTROLLER = "containerd.services.sandbox.v1.Controller"


class Store:
    """The methods of ``containerd.services.sandbox.v1.Store``."""

    create = Method(_STORE, "Create", StoreCreateRequest, StoreCreateResponse)
    update = Method(_STORE, "Update", StoreUpdateRequest, StoreUpdateResponse)
    delete = Method(_STORE, "Delete", StoreDeleteRequest, StoreDeleteResponse)
    list = Method(_STORE, "List", StoreListRequest, StoreListResponse)
    get = Method(_STORE, "Get", StoreGetRequest, StoreGetResponse)


class Controller:
    """The methods of ``containerd.services.sandbox.v1.Controller``."""

    create = Method(_CONTROLLER, "Create", ControllerCreateRequest, ControllerCreateResponse)
    start = Method(_CONTROLLER, "Start", ControllerStartRequest, ControllerStartResponse)
    platform = Method(
        _CONTROLLER, "Platform", ControllerPlatformRequest, ControllerPlatformResponse
    )
    stop = Method(_CONTROLLER, "Stop", ControllerStopRequest, ControllerStopResponse)
    wait = Method(_CONTROLLER, "Wait", ControllerWaitRequest, ControllerWaitResponse)
    status = Method(_CONTROLLER, "Status", ControllerStatusRequest, ControllerStatusResponse)
    shutdown = Method(
        _CONTROLLER, "Shutdown", ControllerShutdownRequest, ControllerShutdownResponse
    )
    metrics = Method(_CONTROLLER, "Metrics", ControllerMetricsRequest, ControllerMetricsResponse)
    update = Method(_CONTROLLER, "Update", ControllerUpdateRequest, ControllerUpdateResponse)
