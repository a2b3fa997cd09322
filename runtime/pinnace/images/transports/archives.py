"""``oci-archive:PATH[:REFERENCE]``: an OCI image layout in one tar file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.errors import InvalidArgument, Unimplemented
from pinnace.images.transports import base
from pinnace.images.transports.layout import LAYOUT, choose, to_document, with_image
from pinnace.images.transports.tarfile import ArchiveWriter, TarReader
from pinnace.spec import image as images

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pinnace.images.signing.signature import Signature
    from pinnace.images.transports.base import Blob, Document, Stream
    from pinnace.spec.digest import Digest
    from pinnace.spec.image import Descriptor
    from pinnace.spec.reference import Reference


def member(digest: Digest) -> str:
    """Where a layout has a blob."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


class OciArchiveSource:
    """Reads an image of an archive, where it lies."""

    reference: Reference | None = None

    def __init__(self, path: str, reference: str, temporary: str = "") -> None:
        self.name = f"oci-archive:{path}" + (f":{reference}" if reference else "")
        self._reference = reference
        self._tar = TarReader(path, temporary)

    def root(self) -> Document:
        """See :class:`base.Source`."""
        index = self._tar.read("index.json", images.MAX_DOCUMENT_BYTES)
        return self.document(choose(index, self._reference, self.name))

    def document(self, descriptor: Descriptor) -> Document:
        """See :class:`base.Source`."""
        data = self._tar.read(member(descriptor.digest), images.MAX_DOCUMENT_BYTES)
        return to_document(data, descriptor, self.name)

    def blob(self, descriptor: Descriptor) -> Stream:
        """See :class:`base.Source`."""
        return self._tar.open(member(descriptor.digest))

    def signatures(self, digest: Digest) -> Sequence[Signature]:
        """An archive has no place for them."""
        return ()

    def close(self) -> None:
        """Close the archive."""
        self._tar.close()


class OciArchiveTarget:
    """Writes a new archive with one image; it takes the place of the old file at the end."""

    reference: Reference | None = None
    accepts: tuple[str, ...] = (images.OCI_MANIFEST, images.OCI_INDEX)
    parallel = False

    def __init__(
        self, path: str, reference: str, *, temporary: str = "", accept_uncompressed: bool = False
    ) -> None:
        if reference.startswith("@"):
            raise InvalidArgument(f"oci-archive:{path}: {reference} is a number, not a name")
        self.name = f"oci-archive:{path}" + (f":{reference}" if reference else "")
        self.layers = base.PRESERVE if accept_uncompressed else base.COMPRESS
        self._reference = reference
        self._root: Document | None = None
        self._writer = ArchiveWriter(path, temporary)

    def has(self, descriptor: Descriptor, source: Reference | None) -> bool:
        """See :class:`base.Target`."""
        return member(descriptor.digest) in self._writer

    def put(self, blob: Blob) -> tuple[Digest, int]:
        """See :class:`base.Target`."""
        known = blob.descriptor.digest if blob.descriptor else None
        stream = blob.open()
        try:
            self._directories(known.algorithm if known else "sha256")
            return self._writer.put(stream, member, known)
        finally:
            stream.close()

    def _directories(self, algorithm: str) -> None:
        self._writer.directory("blobs/")
        self._writer.directory(f"blobs/{algorithm}/")

    def put_document(self, document: Document, *, root: bool) -> None:
        """See :class:`base.Target`."""
        self._directories(document.digest.algorithm)
        self._writer.add(member(document.digest), document.data)
        if root:
            self._root = document

    def put_signatures(self, digest: Digest, signatures: Sequence[Signature]) -> None:
        """See :class:`base.Target`."""
        raise Unimplemented(
            f"{self.name} has no place for signatures", hint="leave them out: --remove-signatures"
        )

    def commit(self) -> None:
        """See :class:`base.Target`."""
        if self._root is None:
            return
        self._writer.add("index.json", with_image(b"", self._root, self._reference))
        self._writer.add("oci-layout", LAYOUT)
        self._writer.finish()

    def close(self) -> None:
        """See :class:`base.Target`."""
        self._writer.close()
