"""The Images service."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pinnace.api.schema import images as wire
from pinnace.api.schema.wellknown import Empty
from pinnace.api.services import convert
from pinnace.errors import InvalidArgument
from pinnace.store.images import Image

if TYPE_CHECKING:
    from pinnace.api.schema.types import Descriptor
    from pinnace.api.server import Context
    from pinnace.daemon.daemon import Daemon
    from pinnace.spec.image import Descriptor as DescriptorRecord

SCHEMA = wire.Images


class Service:
    def __init__(self, daemon: Daemon) -> None:
        self._catalog = daemon.catalog
        self._images = daemon.store.images

    def get(self, request: wire.GetImageRequest, context: Context) -> wire.GetImageResponse:
        image = self._images.get(context.namespace, request.name)
        return wire.GetImageResponse(image=_message(image))

    def list(self, request: wire.ListImagesRequest, context: Context) -> wire.ListImagesResponse:
        found = self._images.list(context.namespace, request.filters)
        return wire.ListImagesResponse(images=[_message(image) for image in found])

    def create(
        self, request: wire.CreateImageRequest, context: Context
    ) -> wire.CreateImageResponse:
        image = self._catalog.create_image(
            context.namespace, _record(request.image), lease=context.lease
        )
        return wire.CreateImageResponse(image=_message(image))

    def update(
        self, request: wire.UpdateImageRequest, context: Context
    ) -> wire.UpdateImageResponse:
        paths = convert.paths(request.update_mask)
        # Clients that change a label leave the target out, or send an empty one.
        old = None
        if request.image is not None and paths and "target" not in paths:
            old = self._images.get(context.namespace, request.image.name)
        record = _record(request.image, old)
        image = self._catalog.update_image(context.namespace, record, paths, lease=context.lease)
        return wire.UpdateImageResponse(image=_message(image))

    def delete(self, request: wire.DeleteImageRequest, context: Context) -> Empty:
        target = request.target.digest if request.target is not None else ""
        self._catalog.delete_image(
            context.namespace, request.name, target=target, sync=request.sync
        )
        return Empty()


def _message(image: Image) -> wire.Image:
    return wire.Image(
        name=image.name,
        labels=dict(image.labels),
        target=convert.descriptor(image.target),
        created_at=convert.timestamp(image.created_at),
        updated_at=convert.timestamp(image.updated_at),
    )


def _target(message: Descriptor | None) -> DescriptorRecord:
    try:
        return convert.descriptor_record(message, "image target")
    except InvalidArgument:
        if message is None:
            raise
        shown = json.dumps(message.digest)
        raise InvalidArgument(
            f"Target.Digest {shown} invalid: invalid checksum digest format"
        ) from None


def _record(image: wire.Image | None, old: Image | None = None) -> Image:
    if image is None:
        raise InvalidArgument("image must be set")
    target = old.target if old else _target(image.target)
    if old and image.target is not None:
        target = target._replace(annotations=image.target.annotations)
    return Image(image.name, target, image.labels)
