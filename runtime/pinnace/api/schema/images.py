"""The Images service, and the events of images (they are in its package)."""

from __future__ import annotations

from pinnace.api import codec as pb
from pinnace.api.method import Method
from pinnace.api.schema.types import Descriptor
from pinnace.api.schema.wellknown import Empty, FieldMask, Timestamp

PACKAGE = "containerd.services.images.v1"


class Image(pb.Message):
    name = pb.string(1)
    labels = pb.string_map(2)
    target = pb.message(3, Descriptor)
    created_at = pb.message(7, Timestamp)
    updated_at = pb.message(8, Timestamp)


class GetImageRequest(pb.Message):
    name = pb.string(1)


class GetImageResponse(pb.Message):
    image = pb.message(1, Image)


class CreateImageRequest(pb.Message):
    image = pb.message(1, Image)
    source_date_epoch = pb.message(2, Timestamp)


class CreateImageResponse(pb.Message):
    image = pb.message(1, Image)


class UpdateImageRequest(pb.Message):
    image = pb.message(1, Image)
    update_mask = pb.message(2, FieldMask)
    source_date_epoch = pb.message(3, Timestamp)


class UpdateImageResponse(pb.Message):
    image = pb.message(1, Image)


class ListImagesRequest(pb.Message):
    filters = pb.strings(1)


class ListImagesResponse(pb.Message):
    images = pb.messages(1, Image)


class DeleteImageRequest(pb.Message):
    name = pb.string(1)
    sync = pb.boolean(2)
    target = pb.message(3, Descriptor)


_SERVICE = "containerd.services.images.v1.Images"


class Images:
    """The methods of ``containerd.services.images.v1.Images``."""

    get = Method(_SERVICE, "Get", GetImageRequest, GetImageResponse)
    list = Method(_SERVICE, "List", ListImagesRequest, ListImagesResponse)
    create = Method(_SERVICE, "Create", CreateImageRequest, CreateImageResponse)
    update = Method(_SERVICE, "Update", UpdateImageRequest, UpdateImageResponse)
    delete = Method(_SERVICE, "Delete", DeleteImageRequest, Empty)


class ImageCreate(pb.Message):
    name = pb.string(1)
    labels = pb.string_map(2)


class ImageUpdate(pb.Message):
    name = pb.string(1)
    labels = pb.string_map(2)


class ImageDelete(pb.Message):
    name = pb.string(1)
