"""``docker://NAME[:TAG|@DIGEST]``: an image in a registry."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, BinaryIO, cast

from pinnace.errors import ImageNotFound, InvalidArgument, NotFound, Unavailable
from pinnace.images.transports import base, files
from pinnace.images.transports.base import Document
from pinnace.images.transports.layout import to_document
from pinnace.registry.transport import PROGRESS
from pinnace.spec import image as images
from pinnace.spec import reference as references
from pinnace.spec.image import Descriptor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pinnace.images.signing.signature import Signature
    from pinnace.images.signing.storage import Storage
    from pinnace.images.transports.base import Blob, Stream
    from pinnace.registry.resolver import Resolver
    from pinnace.registry.resolver import Stream as Download
    from pinnace.spec.digest import Digest
    from pinnace.spec.reference import Reference

_ATTEMPTS = 5


class RegistrySource:
    """Reads an image of a registry."""

    def __init__(self, reference: Reference, resolver: Resolver, storage: Storage) -> None:
        """*storage* knows where signatures are; *resolver* is closed with the source."""
        self.name = f"docker://{reference}"
        self.reference: Reference | None = reference
        self._ref = reference
        self._resolver = resolver
        self._storage = storage

    def root(self) -> Document:
        """See :class:`base.Source`."""
        try:
            descriptor, data = self._resolver.manifest(str(self._ref))
        except NotFound as problem:
            raise ImageNotFound(problem.message, hint=problem.hint) from problem
        return Document(data, descriptor.media_type, descriptor.digest)

    def document(self, descriptor: Descriptor) -> Document:
        """See :class:`base.Source`."""
        name = f"{self._ref.locator}@{descriptor.digest}"
        return to_document(self._resolver.manifest(name)[1], descriptor, self.name)

    def blob(self, descriptor: Descriptor) -> Stream:
        """See :class:`base.Source`; a broken download goes on where it broke."""
        return Resuming(self._resolver, f"{self._ref.locator}@{descriptor.digest}", descriptor)

    def signatures(self, digest: Digest) -> Sequence[Signature]:
        """See :class:`base.Source`."""
        return self._storage.read(self._resolver, self._ref, digest)

    def close(self) -> None:
        """Close the connections."""
        self._resolver.close()


class Resuming:
    """A download as a stream, which asks for the rest when the connection breaks.

    Raises Unavailable after five attempts that brought next to nothing.
    """

    def __init__(self, resolver: Resolver, reference: str, descriptor: Descriptor) -> None:
        self._resolver = resolver
        self._reference = reference
        self._descriptor = descriptor
        self._at = 0
        self._mark = 0
        self._failures = 0
        self._stream: Download | None = resolver.fetch(reference, descriptor)

    def read(self, size: int = -1, /) -> bytes:
        """Up to *size* bytes, nothing at the end."""
        while True:
            try:
                data = self._open().read(size)
            except Unavailable:
                self._drop()
                came, self._mark = self._at - self._mark, self._at
                self._failures = 1 if came >= PROGRESS else self._failures + 1
                if self._failures >= _ATTEMPTS:
                    raise
                self._resolver.pause(self._failures)
                continue
            self._at += len(data)
            return data

    def _open(self) -> Download:
        if self._stream is None:
            stream = self._resolver.fetch(self._reference, self._descriptor, self._at)
            self._stream = stream
            left = self._at - stream.offset  # a server without ranges starts anew
            while left > 0:
                passed = stream.read(min(left, 1 << 18))
                if not passed:
                    raise Unavailable(f"{self._reference} became shorter while it was read")
                left -= len(passed)
        return self._stream

    def _drop(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def close(self) -> None:
        """Give the connection up."""
        self._drop()


class RegistryTarget:
    """Pushes an image to a registry; the tag last."""

    accepts: tuple[str, ...] = base.ALL_MANIFESTS
    layers = base.COMPRESS
    parallel = True

    def __init__(
        self, reference: Reference, resolver: Resolver, storage: Storage, temporary: str = ""
    ) -> None:
        """*temporary* is where layers are kept whose digest is not known before they are packed."""
        self.name = f"docker://{reference}"
        self.reference: Reference | None = reference
        self._ref = reference
        self._resolver = resolver
        self._storage = storage
        self._temporary = temporary or None

    def has(self, descriptor: Descriptor, source: Reference | None) -> bool:
        """See :class:`base.Target`."""
        other = ""
        if source and source.hostname == self._ref.hostname:
            other = source.repository if source.repository != self._ref.repository else ""
        return self._resolver.has(str(self._ref), descriptor.digest, other)

    def put(self, blob: Blob) -> tuple[Digest, int]:
        """See :class:`base.Target`."""
        if blob.descriptor is not None:
            self._resolver.upload(str(self._ref), blob.descriptor, blob.open)
            return blob.descriptor.digest, blob.descriptor.size
        with tempfile.TemporaryFile(dir=self._temporary) as spooled:
            stream = blob.open()
            try:
                digest, size = files.copy(stream, cast(BinaryIO, spooled))
            finally:
                stream.close()
            made = Descriptor(images.OCI_LAYER, digest, size)
            if not self._resolver.has(str(self._ref), digest):
                self._resolver.upload(str(self._ref), made, lambda: _Again(cast(BinaryIO, spooled)))
            return digest, size

    def put_document(self, document: Document, *, root: bool) -> None:
        """See :class:`base.Target`."""
        wanted = self._ref.digest
        if root and wanted and wanted != document.digest:
            raise InvalidArgument(
                f"{self.name}: the digest of what was to be pushed is {document.digest}",
                hint="give the destination a tag instead",
            )
        descriptor = Descriptor(document.media_type, document.digest, len(document.data))
        name = str(self._ref) if root else f"{self._ref.locator}@{document.digest}"
        self._resolver.push(name, descriptor, lambda: Bytes(document.data))

    def put_signatures(self, digest: Digest, signatures: Sequence[Signature]) -> None:
        """See :class:`base.Target`."""
        self._storage.write(self._resolver, self._ref, digest, signatures)

    def commit(self) -> None:
        """The tag was pushed with the manifest."""

    def close(self) -> None:
        """Close the connections."""
        self._resolver.close()


class Bytes:
    """Bytes as a stream."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def read(self, size: int = -1, /) -> bytes:
        """Up to *size* bytes."""
        end = len(self._data) if size < 0 else self._at + size
        data = self._data[self._at : end]
        self._at += len(data)
        return data

    def close(self) -> None:
        """Nothing is held."""


class _Again:
    """A spooled file from its beginning; stays open for the next attempt."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        file.seek(0)

    def read(self, size: int = -1, /) -> bytes:
        return self._file.read(size)

    def close(self) -> None:
        pass


def parse(name: str) -> Reference:
    """What stands behind ``docker://``: Docker's short names are completed."""
    return references.normalize(name)
