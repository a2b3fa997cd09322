"""gRPC's health checking service (https://grpc.io/docs/guides/health-checking/)."""

from __future__ import annotations

from pinnace.api import codec as pb
from pinnace.api.method import Method

PACKAGE = "grpc.health.v1"

# HealthCheckResponse.ServingStatus
SERVING_STATUS_UNKNOWN = 0
SERVING_STATUS_SERVING = 1
SERVING_STATUS_NOT_SERVING = 2
SERVING_STATUS_SERVICE_UNKNOWN = 3


class HealthCheckRequest(pb.Message):
    service = pb.string(1)


class HealthCheckResponse(pb.Message):
    status = pb.enum(1)


class HealthListRequest(pb.Message):
    pass


class HealthListResponse(pb.Message):
    statuses = pb.message_map(1, HealthCheckResponse)


_SERVICE = "grpc.health.v1.Health"


class Health:
    """The methods of ``grpc.health.v1.Health``."""

    check = Method(_SERVICE, "Check", HealthCheckRequest, HealthCheckResponse)
    list = Method(_SERVICE, "List", HealthListRequest, HealthListResponse)
    watch = Method(_SERVICE, "Watch", HealthCheckRequest, HealthCheckResponse, response_stream=True)
