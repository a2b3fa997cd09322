"""``oci:PATH[:REFERENCE]``: an OCI image layout (OCI image spec, "image-layout.md").

The reference is the annotation ``org.opencontainers.image.ref.name`` in ``index.json``; without one
the layout must hold exactly one image. ``@N`` in its place takes the image number N.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from pinnace.errors import DataLoss, InvalidArgument, NotFound, Unimplemented
from pinnace.images import labels
from pinnace.images.transports import base, files
from pinnace.images.transports.base import Document
from pinnace.spec import image as images
from pinnace.spec.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pinnace.images.signing.signature import Signature
    from pinnace.images.transports.base import Blob, Stream
    from pinnace.spec.image import Descriptor
    from pinnace.spec.reference import Reference

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


def choose(index: bytes, reference: str, name: str) -> Descriptor:
    """The image of ``index.json`` that *reference* means; raises NotFound with those that exist."""
    found = images.parse_index(index, images.OCI_INDEX).manifests
    if reference.startswith("@"):
        return _numbered(found, reference[1:], name)
    if not reference:
        if len(found) == 1:
            return found[0]
        raise NotFound(
            f"{name} holds {len(found)} images, not one", hint=_those(found) if found else ""
        )
    for descriptor in found:
        if reference in (
            descriptor.annotations.get(labels.REF_NAME),
            descriptor.annotations.get(labels.NAME),
        ):
            return descriptor
    raise NotFound(f"{name} holds no image {reference!r}", hint=_those(found))


def _numbered(found: Sequence[Descriptor], number: str, name: str) -> Descriptor:
    if not number.isdecimal():
        raise InvalidArgument(f"{name}: @{number} is not the number of an image")
    if int(number) >= len(found):
        raise NotFound(f"{name} holds {len(found)} images, none has the number {number}")
    return found[int(number)]


def _those(found: Sequence[Descriptor]) -> str:
    names = [item.annotations.get(labels.REF_NAME, "") for item in found]
    return f"it holds {', '.join(repr(name) for name in names[:10] if name) or 'unnamed ones'}"


def to_document(data: bytes, descriptor: Descriptor, name: str) -> Document:
    """A document that was read as *descriptor*; raises DataLoss when it is not that."""
    if not descriptor.digest.verify(data):
        raise DataLoss(f"{name}: {descriptor.digest} is damaged: its bytes have another digest")
    media_type = images.media_type_of(images.parse_document(data), descriptor.media_type)
    return Document(data, media_type, descriptor.digest)


class LayoutSource:
    """Reads an image of a layout."""

    reference: Reference | None = None

    def __init__(self, path: str, reference: str, shared: str = "") -> None:
        """*shared* is a directory of blobs that several layouts use instead of their own."""
        self.name = f"oci:{path}" + (f":{reference}" if reference else "")
        self._path = path
        self._reference = reference
        self._blobs = shared or os.path.join(path, "blobs")

    def root(self) -> Document:
        """See :class:`base.Source`."""
        index = files.read(os.path.join(self._path, "index.json"), images.MAX_DOCUMENT_BYTES)
        return self.document(choose(index, self._reference, self.name))

    def document(self, descriptor: Descriptor) -> Document:
        """See :class:`base.Source`."""
        data = files.read(_blob_path(self._blobs, descriptor.digest), images.MAX_DOCUMENT_BYTES)
        return to_document(data, descriptor, self.name)

    def blob(self, descriptor: Descriptor) -> Stream:
        """See :class:`base.Source`."""
        return files.open_regular(_blob_path(self._blobs, descriptor.digest))

    def signatures(self, digest: Digest) -> Sequence[Signature]:
        """A layout has no place for them."""
        return ()

    def close(self) -> None:
        """Nothing is held."""


def _blob_path(folder: str, digest: Digest) -> str:
    return os.path.join(folder, digest.algorithm, digest.hex)


class LayoutTarget:
    """Adds an image to a layout, which is made when there is none."""

    reference: Reference | None = None
    accepts: tuple[str, ...] = (images.OCI_MANIFEST, images.OCI_INDEX)
    parallel = True

    def __init__(
        self, path: str, reference: str, *, shared: str = "", accept_uncompressed: bool = False
    ) -> None:
        """Raises InvalidArgument for a reference that could not be asked for again."""
        if reference.startswith("@"):
            raise InvalidArgument(f"oci:{path}: {reference} is a number; new images have a name")
        self.name = f"oci:{path}" + (f":{reference}" if reference else "")
        self.layers = base.PRESERVE if accept_uncompressed else base.COMPRESS
        self._path = path
        self._reference = reference
        self._blobs = shared or os.path.join(path, "blobs")
        self._root: Document | None = None
        files.make_directory(os.path.join(self._blobs, "sha256"))
        files.make_directory(path)

    def has(self, descriptor: Descriptor, source: Reference | None) -> bool:
        """There means there and whole: a damaged file is written anew."""
        path = _blob_path(self._blobs, descriptor.digest)
        try:
            with files.open_regular(path) as file:
                if os.fstat(file.fileno()).st_size != descriptor.size:
                    return False
                hasher = descriptor.digest.hasher()
                while data := file.read(1 << 18):
                    hasher.update(data)
        except NotFound:
            return False
        return hasher.hexdigest() == descriptor.digest.hex

    def put(self, blob: Blob) -> tuple[Digest, int]:
        """See :class:`base.Target`."""
        known = blob.descriptor.digest if blob.descriptor else None
        stream = blob.open()
        try:
            return files.store(
                stream, self._blobs, lambda digest: _blob_path(self._blobs, digest), known
            )
        finally:
            stream.close()

    def put_document(self, document: Document, *, root: bool) -> None:
        """See :class:`base.Target`."""
        path = _blob_path(self._blobs, document.digest)
        files.make_directory(os.path.dirname(path))
        files.write(path, document.data)
        if root:
            self._root = document

    def put_signatures(self, digest: Digest, signatures: Sequence[Signature]) -> None:
        """See :class:`base.Target`."""
        raise Unimplemented(
            f"{self.name} has no place for signatures", hint="leave them out: --remove-signatures"
        )

    def commit(self) -> None:
        """Write ``index.json`` with the image in it."""
        if self._root is None:
            return
        files.write(os.path.join(self._path, "oci-layout"), LAYOUT)
        with _writing:
            path = os.path.join(self._path, "index.json")
            try:
                old = files.read(path, images.MAX_DOCUMENT_BYTES)
            except NotFound:
                old = b""
            files.write(path, with_image(old, self._root, self._reference))

    def close(self) -> None:
        """Nothing is held."""


_writing = threading.Lock()


def with_image(index: bytes, root: Document, reference: str) -> bytes:
    """``index.json`` with an image, in the place of one that had its name or, unnamed, its digest."""
    document: dict[str, Any] = {"schemaVersion": 2, "manifests": []}
    if index:
        images.parse_index(index, images.OCI_INDEX)
        document = images.parse_document(index)
    entry: dict[str, Any] = {
        "mediaType": root.media_type,
        "digest": str(root.digest),
        "size": len(root.data),
    }
    if reference:
        entry["annotations"] = {labels.REF_NAME: reference}
    document["manifests"] = [
        *(item for item in document.get("manifests") or [] if not _same(item, entry, reference)),
        entry,
    ]
    return images.dump(document)


def _same(item: dict[str, Any], entry: dict[str, Any], reference: str) -> bool:
    name = (item.get("annotations") or {}).get(labels.REF_NAME, "")
    if reference:
        return bool(name == reference) or (not name and item["digest"] == entry["digest"])
    return not name and item["digest"] == entry["digest"]
