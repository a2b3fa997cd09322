"""``dir:PATH``: an image as plain files, for debugging and for carrying about.

Source: containers/image's documentation of the transport: ``version``, ``manifest.json``, each blob
under the hexadecimal part of its digest, ``<hex>.manifest.json`` for the manifests of an index,
``signature-N`` (``<hex>.signature-N`` for those of an index's manifests).
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from pinnace.errors import InvalidArgument, NotFound
from pinnace.images.signing import signature
from pinnace.images.transports import base, files
from pinnace.images.transports.base import Document
from pinnace.images.transports.layout import to_document
from pinnace.spec import digest as digests
from pinnace.spec import image as images
from pinnace.store import disk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pinnace.images.signing.signature import Signature
    from pinnace.images.transports.base import Blob, Stream
    from pinnace.spec.digest import Digest
    from pinnace.spec.image import Descriptor
    from pinnace.spec.reference import Reference

_VERSION = b"Directory Transport Version: 1.1\n"
_OURS = re.compile(
    r"(?:version|manifest\.json|(?:[0-9a-f]{64}|sha512-[0-9a-f]{128})"
    r"|(?:[0-9a-f]{64}\.)?(?:manifest\.json|signature-[0-9]+)|\.partial-.*)\Z"
)
_MAX_SIGNATURES = 128
_MAX_SIGNATURE = 4 << 20


class DirectorySource:
    """Reads the image in a directory."""

    reference: Reference | None = None

    def __init__(self, path: str) -> None:
        self.name = f"dir:{path}"
        self._path = path
        self._root: Document | None = None

    def root(self) -> Document:
        """See :class:`base.Source`."""
        data = files.read(os.path.join(self._path, "manifest.json"), images.MAX_DOCUMENT_BYTES)
        media_type = images.media_type_of(images.parse_document(data))
        self._root = Document(data, media_type, digests.sha256(data))
        return self._root

    def document(self, descriptor: Descriptor) -> Document:
        """See :class:`base.Source`."""
        path = os.path.join(self._path, f"{_file_name(descriptor.digest)}.manifest.json")
        return to_document(files.read(path, images.MAX_DOCUMENT_BYTES), descriptor, self.name)

    def blob(self, descriptor: Descriptor) -> Stream:
        """See :class:`base.Source`."""
        return files.open_regular(os.path.join(self._path, _file_name(descriptor.digest)))

    def signatures(self, digest: Digest) -> Sequence[Signature]:
        """See :class:`base.Source`."""
        prefix = self._prefix(digest)
        found: list[Signature] = []
        for number in range(1, _MAX_SIGNATURES + 1):
            path = os.path.join(self._path, f"{prefix}signature-{number}")
            try:
                found.append(signature.parse(files.read(path, _MAX_SIGNATURE)))
            except NotFound:
                break
        return found

    def _prefix(self, digest: Digest) -> str:
        root = self._root or self.root()
        return "" if digest == root.digest else f"{_file_name(digest)}."

    def close(self) -> None:
        """Nothing is held."""


def _file_name(digest: Digest) -> str:
    return digest.hex if digest.algorithm == "sha256" else f"{digest.algorithm}-{digest.hex}"


class DirectoryTarget:
    """Writes an image into a directory, in place of the image that was there.

    A directory with other files is refused: nothing of somebody else's is ever removed.
    """

    reference: Reference | None = None
    accepts: tuple[str, ...] = base.ALL_MANIFESTS
    parallel = True

    def __init__(self, path: str, *, layers: str = base.PRESERVE) -> None:
        """Raises InvalidArgument for a directory that is not one of ours."""
        self.name = f"dir:{path}"
        self.layers = layers
        self._path = path
        self._signatures: dict[Digest, Sequence[Signature]] = {}
        self._root: Document | None = None
        self._kept: set[str] = {"version", "manifest.json"}
        files.make_directory(path)
        with disk.errors(path):
            foreign = sorted(name for name in os.listdir(path) if not _OURS.match(name))
        if foreign:
            raise InvalidArgument(
                f"{path} is not empty and not an image directory: it has {foreign[0]!r}"
            )

    def has(self, descriptor: Descriptor, source: Reference | None) -> bool:
        """See :class:`base.Target`; what an earlier image left may be damaged, and is not used."""
        return _file_name(descriptor.digest) in self._kept

    def put(self, blob: Blob) -> tuple[Digest, int]:
        """See :class:`base.Target`."""
        known = blob.descriptor.digest if blob.descriptor else None
        stream = blob.open()
        try:
            digest, size = files.store(
                stream,
                self._path,
                lambda digest: os.path.join(self._path, _file_name(digest)),
                known,
            )
        finally:
            stream.close()
        self._kept.add(_file_name(digest))
        return digest, size

    def put_document(self, document: Document, *, root: bool) -> None:
        """See :class:`base.Target`."""
        if root:
            self._root = document
            return
        name = f"{_file_name(document.digest)}.manifest.json"
        files.write(os.path.join(self._path, name), document.data)
        self._kept.add(name)

    def put_signatures(self, digest: Digest, signatures: Sequence[Signature]) -> None:
        """See :class:`base.Target`."""
        self._signatures[digest] = signatures

    def commit(self) -> None:
        """Write what names the rest, last of all, and remove what an earlier image left."""
        root = self._root
        if root is None:
            return
        for digest, found in self._signatures.items():
            prefix = "" if digest == root.digest else f"{_file_name(digest)}."
            for number, item in enumerate(found, 1):
                name = f"{prefix}signature-{number}"
                files.write(os.path.join(self._path, name), item.to_bytes())
                self._kept.add(name)
        files.write(os.path.join(self._path, "version"), _VERSION)
        files.write(os.path.join(self._path, "manifest.json"), root.data)
        with disk.errors(self._path):
            old = set(os.listdir(self._path)) - self._kept
        for name in old:
            if _OURS.match(name):
                with suppress(OSError):
                    os.unlink(os.path.join(self._path, name))

    def close(self) -> None:
        """Nothing is held."""
