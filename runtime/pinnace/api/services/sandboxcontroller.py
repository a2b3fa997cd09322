"""The sandbox Controller service, as it is with runtimes that make no sandboxes of their own.

containerd's ``shim`` controller asks a runtime's shim for a sandbox, which those for virtual machines can
make. runc's shim, containerd's and ours, cannot: its pods are containers that share namespaces, which CRI
makes of tasks. So a sandbox can be recorded here (the Store), but none can be started.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema import sandboxes as wire
from pinnace.api.schema.types import Platform
from pinnace.errors import InvalidArgument, NotFound, Unimplemented
from pinnace.spec import platform

if TYPE_CHECKING:
    from typing import NoReturn

    from pinnace.api.server import Context
    from pinnace.daemon.daemon import Daemon

SCHEMA = wire.Controller
_CONTROLLER = "shim"


class Service:
    def __init__(self, daemon: Daemon) -> None:
        self._sandboxes = daemon.store.sandboxes

    def create(
        self, request: wire.ControllerCreateRequest, context: Context
    ) -> wire.ControllerCreateResponse:
        _check_controller(request.sandboxer)
        found = self._sandboxes.get(context.namespace, request.sandbox_id)
        raise Unimplemented(f'the shim of runtime "{found.runtime_name}" makes no sandboxes')

    def start(
        self, request: wire.ControllerStartRequest, context: Context
    ) -> wire.ControllerStartResponse:
        _missing(request.sandboxer, request.sandbox_id)

    def platform(
        self, request: wire.ControllerPlatformRequest, context: Context
    ) -> wire.ControllerPlatformResponse:
        _check_controller(request.sandboxer)
        here = platform.default()
        found = Platform(os=here.os, architecture=here.architecture, variant=here.variant)
        return wire.ControllerPlatformResponse(platform=found)

    def stop(
        self, request: wire.ControllerStopRequest, context: Context
    ) -> wire.ControllerStopResponse:
        _missing(request.sandboxer, request.sandbox_id)

    def wait(
        self, request: wire.ControllerWaitRequest, context: Context
    ) -> wire.ControllerWaitResponse:
        _missing(request.sandboxer, request.sandbox_id)

    def status(
        self, request: wire.ControllerStatusRequest, context: Context
    ) -> wire.ControllerStatusResponse:
        _missing(request.sandboxer, request.sandbox_id)

    def shutdown(
        self, request: wire.ControllerShutdownRequest, context: Context
    ) -> wire.ControllerShutdownResponse:
        _missing(request.sandboxer, request.sandbox_id)

    def metrics(
        self, request: wire.ControllerMetricsRequest, context: Context
    ) -> wire.ControllerMetricsResponse:
        _missing(request.sandboxer, request.sandbox_id)

    def update(
        self, request: wire.ControllerUpdateRequest, context: Context
    ) -> wire.ControllerUpdateResponse:
        _missing(request.sandboxer, request.sandbox_id)


def _check_controller(name: str) -> None:
    if not name:
        raise InvalidArgument("sandbox controller name can not be empty")
    if name != _CONTROLLER:
        raise NotFound(f'sandbox controller "{name}": not found')


def _missing(controller: str, identifier: str) -> NoReturn:
    _check_controller(controller)
    raise NotFound(f'sandbox "{identifier}" does not run: not found')
