"""The Content service: blobs by digest."""

from __future__ import annotations

from pinnace.api import codec as pb
from pinnace.api.method import Method
from pinnace.api.schema.wellknown import Empty, FieldMask, Timestamp

PACKAGE = "containerd.services.content.v1"

# WriteAction
WRITE_ACTION_STAT = 0
WRITE_ACTION_WRITE = 1
WRITE_ACTION_COMMIT = 2


class Info(pb.Message):
    digest = pb.string(1)
    size = pb.int64(2)
    created_at = pb.message(3, Timestamp)
    updated_at = pb.message(4, Timestamp)
    labels = pb.string_map(5)


class InfoRequest(pb.Message):
    digest = pb.string(1)


class InfoResponse(pb.Message):
    info = pb.message(1, Info)


class UpdateRequest(pb.Message):
    info = pb.message(1, Info)
    update_mask = pb.message(2, FieldMask)


class UpdateResponse(pb.Message):
    info = pb.message(1, Info)


class ListContentRequest(pb.Message):
    filters = pb.strings(1)


class ListContentResponse(pb.Message):
    info = pb.messages(1, Info)


class DeleteContentRequest(pb.Message):
    digest = pb.string(1)


class ReadContentRequest(pb.Message):
    digest = pb.string(1)
    offset = pb.int64(2)
    size = pb.int64(3)


class ReadContentResponse(pb.Message):
    offset = pb.int64(1)
    data = pb.data(2)


class Status(pb.Message):
    started_at = pb.message(1, Timestamp)
    updated_at = pb.message(2, Timestamp)
    ref = pb.string(3)
    offset = pb.int64(4)
    total = pb.int64(5)
    expected = pb.string(6)


class StatusRequest(pb.Message):
    ref = pb.string(1)


class StatusResponse(pb.Message):
    status = pb.message(1, Status)


class ListStatusesRequest(pb.Message):
    filters = pb.strings(1)


class ListStatusesResponse(pb.Message):
    statuses = pb.messages(1, Status)


class WriteContentRequest(pb.Message):
    action = pb.enum(1)
    ref = pb.string(2)
    total = pb.int64(3)
    expected = pb.string(4)
    offset = pb.int64(5)
    data = pb.data(6)
    labels = pb.string_map(7)


class WriteContentResponse(pb.Message):
    action = pb.enum(1)
    started_at = pb.message(2, Timestamp)
    updated_at = pb.message(3, Timestamp)
    offset = pb.int64(4)
    total = pb.int64(5)
    digest = pb.string(6)


class AbortRequest(pb.Message):
    ref = pb.string(1)


_SERVICE = "containerd.services.content.v1.Content"


class Content:
    """The methods of ``containerd.services.content.v1.Content``."""

    info = Method(_SERVICE, "Info", InfoRequest, InfoResponse)
    update = Method(_SERVICE, "Update", UpdateRequest, UpdateResponse)
    list = Method(_SERVICE, "List", ListContentRequest, ListContentResponse, response_stream=True)
    delete = Method(_SERVICE, "Delete", DeleteContentRequest, Empty)
    read = Method(_SERVICE, "Read", ReadContentRequest, ReadContentResponse, response_stream=True)
    status = Method(_SERVICE, "Status", StatusRequest, StatusResponse)
    list_statuses = Method(_SERVICE, "ListStatuses", ListStatusesRequest, ListStatusesResponse)
    write = Method(
        _SERVICE,
        "Write",
        WriteContentRequest,
        WriteContentResponse,
        request_stream=True,
        response_stream=True,
    )
    abort = Method(_SERVICE, "Abort", AbortRequest, Empty)
