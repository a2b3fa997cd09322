"""gRPC's health service: the daemon serves as soon as it answers."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pinnace.api.schema import health as wire
from pinnace.api.services import NAMES
from pinnace.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pinnace.api.server import Context
    from pinnace.daemon.daemon import Daemon

SCHEMA = wire.Health


class Service:
    def __init__(self, daemon: Daemon) -> None:
        pass

    def check(self, request: wire.HealthCheckRequest, context: Context) -> wire.HealthCheckResponse:
        if request.service and request.service not in NAMES:
            raise NotFound(f"unknown service {request.service}")
        return wire.HealthCheckResponse(status=wire.SERVING_STATUS_SERVING)

    def list(self, request: wire.HealthListRequest, context: Context) -> wire.HealthListResponse:
        serving = wire.HealthCheckResponse(status=wire.SERVING_STATUS_SERVING)
        return wire.HealthListResponse(statuses=dict.fromkeys(NAMES, serving))

    def watch(
        self, request: wire.HealthCheckRequest, context: Context
    ) -> Iterator[wire.HealthCheckResponse]:
        known = not request.service or request.service in NAMES
        status = wire.SERVING_STATUS_SERVING if known else wire.SERVING_STATUS_SERVICE_UNKNOWN
        yield wire.HealthCheckResponse(status=status)
        gone = threading.Event()
        context.on_cancel(gone.set)
        gone.wait(context.remaining())
