"""An image made into another form through the daemon's API: media types and compression of its layers.

Only documents and layers that change are written; what stays is shared with the image it is made of.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pinnace.cli import images, upload
from pinnace.cli.local import Blob
from pinnace.errors import NotFound
from pinnace.images import convert
from pinnace.images.compression import decompress
from pinnace.images.streams import MAX_LAYER_BYTES
from pinnace.spec import image as documents
from pinnace.spec import platform as platforms
from pinnace.spec.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pinnace.cli.client import Client
    from pinnace.spec.image import Descriptor
    from pinnace.spec.platform import Platform


class Conversion:
    """One image's conversion.

    Args:
        uncompress: layers become plain tar archives.
        oci: Docker's media types become OCI's.
        wanted: platforms whose parts are kept; all when empty.
    """

    def __init__(
        self, client: Client, *, uncompress: bool, oci: bool, wanted: Sequence[Platform]
    ) -> None:
        self._client = client
        self._uncompress = uncompress
        self._oci = oci
        self._wanted = wanted

    def convert(self, descriptor: Descriptor, name: str) -> Descriptor:
        """What ``descriptor`` (an index or a manifest) becomes; raises NotFound for missing parts."""
        data = images.read_document(self._client, descriptor)
        document = documents.parse_document(data)
        kind = documents.media_type_of(document, descriptor.media_type)
        if documents.is_index(kind):
            return self._index(descriptor, document, data, kind, name)
        return self._manifest(descriptor, document, data, kind)

    def _index(
        self, descriptor: Descriptor, document: dict[str, Any], data: bytes, kind: str, name: str
    ) -> Descriptor:
        children = documents.parse_index(data, kind).manifests
        kept = [children[each] for each in self._chosen(children, name)]
        made = [self.convert(each, name) for each in kept]
        form = convert.OCI if self._oci else convert.format_of(kind)
        if made == list(children) and convert.media_type_in(kind, form) == kind:
            return descriptor
        body = convert.index(document, form, made)
        labels = {f"containerd.io/gc.ref.content.m.{n}": str(each.digest) for n, each in enumerate(made)}  # fmt: skip
        return self._store(descriptor, convert.media_type_in(kind, form), body, labels)

    def _chosen(self, children: Sequence[Descriptor], name: str) -> list[int]:
        if not self._wanted:
            return list(range(len(children)))
        known = [each.platform for each in children]
        offered = [each for each in known if each is not None]
        chosen = set()
        for wish in self._wanted:
            found = platforms.best(wish, offered)
            if found is None:
                raise NotFound(f'image "{name}" has nothing for platform {wish}')
            chosen.add(known.index(offered[found]))
        return sorted(chosen)

    def _manifest(
        self, descriptor: Descriptor, document: dict[str, Any], data: bytes, kind: str
    ) -> Descriptor:
        manifest = documents.parse_manifest(data, kind)
        form = convert.OCI if self._oci else convert.format_of(kind)
        layers = [self._layer(each, form) for each in manifest.layers]
        if layers == list(manifest.layers) and convert.media_type_in(kind, form) == kind:
            return descriptor
        body = convert.manifest(document, form, manifest.config, layers)
        labels = {"containerd.io/gc.ref.content.config": str(manifest.config.digest)}
        for number, each in enumerate(layers):
            labels[f"containerd.io/gc.ref.content.l.{number}"] = str(each.digest)
        return self._store(descriptor, convert.media_type_in(kind, form), body, labels)

    def _layer(self, layer: Descriptor, form: str) -> Descriptor:
        compression = convert.compression_of(layer.media_type)
        if not (self._uncompress and compression):
            return layer._replace(media_type=convert.layer_type(form, compression))
        size = 0

        def counted() -> Iterator[bytes]:
            nonlocal size
            for chunk in decompress(Blob(self._client, str(layer.digest)), MAX_LAYER_BYTES):
                size += len(chunk)
                yield chunk

        ref = f"convert-uncompress-{os.urandom(6).hex()}-{layer.digest}"
        digest = Digest.parse(upload.write(self._client, ref, counted()))
        return layer._replace(media_type=convert.layer_type(form, ""), digest=digest, size=size)

    def _store(
        self, old: Descriptor, media_type: str, body: bytes, labels: dict[str, str]
    ) -> Descriptor:
        from pinnace.spec.digest import sha256

        digest = sha256(body)
        ref = f"convert-{os.urandom(6).hex()}-{digest}"
        upload.write(self._client, ref, [body], size=len(body), digest=str(digest), labels=labels)
        return old._replace(media_type=media_type, digest=digest, size=len(body))
