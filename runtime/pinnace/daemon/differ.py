"""Layers onto mounts (``ctr`` unpacks so), and the changes between mounts as a layer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

from pinnace.errors import AlreadyExists, DataLoss, InvalidArgument, Unimplemented
from pinnace.spec import image
from pinnace.spec.image import Descriptor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pinnace.linux.mount import Mount
    from pinnace.spec.digest import Digest
    from pinnace.store.content import ContentStore


def apply(
    content: ContentStore,
    namespace: str,
    layer: Descriptor,
    mounts: Sequence[Mount],
    *,
    sync: bool = False,
) -> Descriptor:
    """Unpack a layer onto a snapshot's mounts; the descriptor of what it is uncompressed.

    Raises NotFound, InvalidArgument (a blob that is no layer), DataLoss for one that is damaged.
    """
    from pinnace.images import unpack
    from pinnace.store import disk

    if not image.is_layer(layer.media_type):
        raise InvalidArgument(f"{layer.media_type!r} is not the media type of a layer")
    target = unpack.target_of(mounts)
    with content.open(namespace, str(layer.digest)) as blob:
        reader = _Verified(blob, layer.digest)
        try:
            applied = unpack.apply(reader, target)
        except DataLoss:
            content.examine(str(layer.digest))
            raise
        intact = reader.intact()
    if not intact:
        raise content.damaged(str(layer.digest))
    if sync:
        disk.sync_file_system(target.root)
    return Descriptor(image.OCI_LAYER, applied.diff_id, applied.size)


class _Verified:
    """A blob that is hashed while it is read, as it may have been damaged since it was written."""

    def __init__(self, blob: BinaryIO, digest: Digest) -> None:
        self._blob = blob
        self._digest = digest
        self._hash = digest.hasher()

    def read(self, size: int = -1, /) -> bytes:
        data = self._blob.read(size)
        self._hash.update(data)
        return data

    def intact(self) -> bool:
        """Read what is left, and compare."""
        while self.read(1 << 20):
            pass
        return self._hash.hexdigest() == self._digest.hex


def create(
    content: ContentStore,
    namespace: str,
    left: Sequence[Mount],
    right: Sequence[Mount],
    *,
    media_type: str = "",
    ref: str = "",
    labels: Mapping[str, str] | None = None,
    lease: str = "",
) -> Descriptor:
    """Write what ``right`` changed on ``left`` as a layer into the content store.

    Raises Unimplemented for other compressions than gzip and none.
    """
    from pinnace.images import diff

    media_type = media_type or image.OCI_LAYER_GZIP
    if media_type not in _COMPRESSED:
        raise Unimplemented(f"cannot make a layer of type {media_type}")
    with content.writer(namespace, ref or f"diff-{os.urandom(8).hex()}", lease=lease) as writer:
        writer.truncate()
        layer = diff.diff_mounts(left, right, writer, compress=_COMPRESSED[media_type])
        found = Descriptor(media_type, writer.digest, writer.offset)
        named = dict(labels or {})
        if _COMPRESSED[media_type]:
            named["containerd.io/uncompressed"] = str(layer.diff_id)
        try:
            writer.commit(labels=named)
        except AlreadyExists:
            content.update(namespace, found.digest, named, [f"labels.{key}" for key in named])
    return found


_COMPRESSED = {
    image.OCI_LAYER: False,
    image.OCI_LAYER_GZIP: True,
    image.DOCKER_LAYER: False,
    image.DOCKER_LAYER_GZIP: True,
}
