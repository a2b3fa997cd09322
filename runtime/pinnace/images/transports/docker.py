"""``docker-archive:PATH[:NAME]``: what ``docker save`` writes and ``docker load`` reads.

Source: Docker's image specification v1.2, "Combined Image JSON + Filesystem Changeset Format". The
archive has no manifest of ours: one is made of ``manifest.json``, with the layers' diff ids as
digests, as layers are uncompressed there.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from pinnace.errors import AlreadyExists, DataLoss, InvalidArgument, NotFound, Unimplemented
from pinnace.images import streams
from pinnace.images.transports import base
from pinnace.images.transports.base import Document
from pinnace.images.transports.layout import to_document
from pinnace.images.transports.tarfile import ArchiveWriter, TarReader
from pinnace.spec import digest as digests
from pinnace.spec import image as images
from pinnace.spec import reference as references
from pinnace.spec.image import Descriptor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pinnace.images.signing.signature import Signature
    from pinnace.images.transports.base import Blob, Stream
    from pinnace.spec.digest import Digest
    from pinnace.spec.reference import Reference


class _Entry(NamedTuple):
    """One image of ``manifest.json``."""

    config: str
    tags: tuple[str, ...]
    layers: tuple[str, ...]


def entries(data: bytes) -> list[_Entry]:
    """The images of a ``manifest.json``; raises InvalidArgument for a malformed one."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"manifest.json is not valid: {error}") from None
    if not isinstance(found, list):
        raise InvalidArgument("manifest.json is not a list of images")
    return [_entry(item) for item in found]


def _entry(item: Any) -> _Entry:
    if not isinstance(item, dict) or not isinstance(item.get("Config"), str):
        raise InvalidArgument("manifest.json has an image without Config")
    lists = []
    for key in ("RepoTags", "Layers"):
        words = item.get(key) or []
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise InvalidArgument(f"{key} in manifest.json is not a list of strings")
        lists.append(tuple(words))
    if len(lists[1]) > images.MAX_LAYERS:
        raise InvalidArgument(f"manifest.json has an image of {len(lists[1])} layers")
    return _Entry(item["Config"], lists[0], lists[1])


class DockerArchiveSource:
    """Reads an image of an archive."""

    def __init__(self, path: str, reference: str, temporary: str = "") -> None:
        self.name = f"docker-archive:{path}" + (f":{reference}" if reference else "")
        self.reference: Reference | None = None
        self._tar = TarReader(path, temporary)
        self._config = b""
        self._layers: dict[Digest, str] = {}
        try:
            listed = entries(self._tar.read("manifest.json", images.MAX_DOCUMENT_BYTES))
            self._entry = self._choose(listed, reference)
        except BaseException:
            self._tar.close()
            raise

    def _choose(self, listed: list[_Entry], reference: str) -> _Entry:
        names = ", ".join(tag for entry in listed for tag in entry.tags)[:300]
        hint = f"it holds {names}" if names else ""
        if reference.startswith("@"):
            if not reference[1:].isdecimal() or int(reference[1:]) >= len(listed):
                raise NotFound(f"{self.name}: it holds {len(listed)} images")
            return listed[int(reference[1:])]
        if not reference:
            if len(listed) != 1:
                raise NotFound(f"{self.name} holds {len(listed)} images, not one", hint=hint)
            return listed[0]
        self.reference = references.normalize(reference)
        for entry in listed:
            if any(references.normalize(tag) == self.reference for tag in entry.tags):
                return entry
        raise NotFound(f"{self.name} holds no image {reference!r}", hint=hint)

    def root(self) -> Document:
        """The manifest that the archive does not have, made of what it has."""
        self._config = self._tar.read(self._entry.config, images.MAX_CONFIG_BYTES)
        diff_ids = images.parse_config(self._config).diff_ids
        if len(diff_ids) != len(self._entry.layers):
            raise DataLoss(
                f"{self.name}: its config has {len(diff_ids)} layers, "
                f"manifest.json has {len(self._entry.layers)}"
            )
        config = Descriptor(images.DOCKER_CONFIG, digests.sha256(self._config), len(self._config))
        layers = []
        for diff_id, path in zip(diff_ids, self._entry.layers, strict=True):
            self._layers[diff_id] = path
            layers.append(Descriptor(images.DOCKER_LAYER, diff_id, self._size(path)))
        data = manifest_of(images.DOCKER_MANIFEST, config, layers)
        return Document(data, images.DOCKER_MANIFEST, digests.sha256(data))

    def _size(self, path: str) -> int:
        """Uncompressed bytes of a layer; some tools leave layers compressed in the archive."""
        stream = self._tar.open(path)
        try:
            if stream.read(4)[:3] not in (b"\x1f\x8b\x08", b"\x28\xb5\x2f"):
                return self._tar.size(path)
        finally:
            stream.close()
        size = 0
        plain = streams.unpacked(self._tar.open(path))
        try:
            while data := plain.read(1 << 18):
                size += len(data)
        finally:
            plain.close()
        return size

    def document(self, descriptor: Descriptor) -> Document:
        """See :class:`base.Source`."""
        return to_document(b"", descriptor, self.name)

    def blob(self, descriptor: Descriptor) -> Stream:
        """See :class:`base.Source`."""
        if descriptor.digest in self._layers:
            return streams.unpacked(self._tar.open(self._layers[descriptor.digest]))
        if hashlib.sha256(self._config).hexdigest() == descriptor.digest.hex:
            return self._tar.open(self._entry.config)
        raise NotFound(f"{self.name} does not hold {descriptor.digest}")

    def signatures(self, digest: Digest) -> Sequence[Signature]:
        """An archive has no place for them."""
        return ()

    def close(self) -> None:
        """Close the archive."""
        self._tar.close()


def manifest_of(media_type: str, config: Descriptor, layers: Sequence[Descriptor]) -> bytes:
    """A manifest in the one form we write."""
    return images.dump(
        {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": config.to_json(),
            "layers": [layer.to_json() for layer in layers],
        }
    )


class DockerArchiveTarget:
    """Writes a new archive with one image under one name or several."""

    accepts: tuple[str, ...] = (images.DOCKER_MANIFEST,)
    layers = base.DECOMPRESS
    parallel = False

    def __init__(
        self, path: str, reference: str, *, more: Sequence[str] = (), temporary: str = ""
    ) -> None:
        """*more* are further names. Raises AlreadyExists for a file that is not empty."""
        self.name = f"docker-archive:{path}" + (f":{reference}" if reference else "")
        names = [references.normalize(name) for name in (reference, *more) if name]
        for name in names:
            if name.digest:
                raise InvalidArgument(f"{self.name}: a name with a digest cannot be given")
        self.reference: Reference | None = names[0] if reference else None
        self._names = names
        self._root: images.Manifest | None = None
        _refuse_existing(path)
        self._writer = ArchiveWriter(path, temporary)

    def has(self, descriptor: Descriptor, source: Reference | None) -> bool:
        """See :class:`base.Target`."""
        return f"{descriptor.digest.hex}.tar" in self._writer

    def put(self, blob: Blob) -> tuple[Digest, int]:
        """See :class:`base.Target`; what is no config is a layer."""
        known = blob.descriptor
        suffix = ".json" if known and images.is_config(known.media_type) else ".tar"
        stream = blob.open()
        try:
            return self._writer.put(
                stream, lambda digest: digest.hex + suffix, known.digest if known else None
            )
        finally:
            stream.close()

    def put_document(self, document: Document, *, root: bool) -> None:
        """See :class:`base.Target`."""
        if root:
            self._root = images.parse_manifest(document.data, document.media_type)

    def put_signatures(self, digest: Digest, signatures: Sequence[Signature]) -> None:
        """See :class:`base.Target`."""
        raise Unimplemented(
            f"{self.name} has no place for signatures", hint="leave them out: --remove-signatures"
        )

    def commit(self) -> None:
        """See :class:`base.Target`."""
        if self._root is None:
            return
        entry = {
            "Config": f"{self._root.config.digest.hex}.json",
            "RepoTags": [str(name) for name in self._names] or None,
            "Layers": [f"{layer.digest.hex}.tar" for layer in self._root.layers],
        }
        self._writer.add("manifest.json", json.dumps([entry], separators=(",", ":")).encode())
        self._writer.finish()

    def close(self) -> None:
        """See :class:`base.Target`."""
        self._writer.close()


def _refuse_existing(path: str) -> None:

    if os.path.isfile(path) and os.path.getsize(path):
        raise AlreadyExists(
            f"docker-archive:{path} exists, and images cannot be added to it",
            hint="choose another file, or remove it",
        )
