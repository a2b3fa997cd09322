"""What every place of images can do: :class:`Source` gives, :class:`Target` takes.

The semantics, which every transport keeps:

* A source's documents are verified; its blobs are not, whoever reads one checks it
  (:func:`pinnace.images.streams.verified`), for it may be hashed on its way elsewhere anyway.
* A target shows nothing incomplete: a blob appears under its digest once all its bytes are there and
  right, and the image's name when :meth:`Target.commit` returns.
* Both are closed by whoever opened them, whatever happened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from pinnace.spec import image as images

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pinnace.images.compression import Readable
    from pinnace.images.signing.signature import Signature
    from pinnace.spec.digest import Digest
    from pinnace.spec.image import Descriptor
    from pinnace.spec.reference import Reference

    Open = Callable[[], "Stream"]
    """Opens a blob from its beginning; called again when a transfer has to start anew."""

COMPRESS, DECOMPRESS, PRESERVE = "compress", "decompress", "preserve"
"""What a target wants layers to be."""
ALL_MANIFESTS = (
    images.OCI_MANIFEST,
    images.DOCKER_MANIFEST,
    images.OCI_INDEX,
    images.DOCKER_INDEX,
)


class Stream(Protocol):
    """A blob being read."""

    def read(self, size: int = -1, /) -> bytes: ...
    def close(self) -> None: ...


class Document(NamedTuple):
    """A manifest or an index: its bytes, its media type and its digest."""

    data: bytes
    media_type: str
    digest: Digest


class Source(Protocol):
    """An image somewhere."""

    @property
    def name(self) -> str:
        """The image as it was asked for, ``transport:...``."""

    @property
    def reference(self) -> Reference | None:
        """Its name in Docker's sense, where it has one (policies and signatures speak of it)."""

    def root(self) -> Document:
        """What the name means; raises NotFound, and what reading raises."""

    def document(self, descriptor: Descriptor) -> Document:
        """A manifest that an index names, verified; raises NotFound, DataLoss."""

    def blob(self, descriptor: Descriptor) -> Stream:
        """A config or a layer, unverified; raises NotFound."""

    def signatures(self, digest: Digest) -> Sequence[Signature]:
        """The signatures for a manifest."""

    def close(self) -> None:
        """Give back what it holds."""


class Blob(NamedTuple):
    """What is to be put: how to read it, and digest and size (-1) where they are known before.

    Reading verifies: :meth:`Stream.read` raises DataLoss at the end of wrong bytes.
    """

    open: Open
    descriptor: Descriptor | None = None


class Target(Protocol):
    """A place for one image (with ``holds_indexes`` of several platforms)."""

    @property
    def name(self) -> str:
        """As it was asked for, ``transport:...``."""

    @property
    def reference(self) -> Reference | None:
        """The name in Docker's sense that the image gets, if any."""

    @property
    def accepts(self) -> tuple[str, ...]:
        """Media types of documents it takes, the preferred ones first."""

    @property
    def layers(self) -> str:
        """``COMPRESS``, ``DECOMPRESS`` or ``PRESERVE``."""

    @property
    def parallel(self) -> bool:
        """Whether :meth:`put` may be called from several threads."""

    def has(self, descriptor: Descriptor, source: Reference | None) -> bool:
        """Whether the blob is there (or was taken over from *source* on the same registry)."""

    def put(self, blob: Blob) -> tuple[Digest, int]:
        """Store a blob; its digest and size. Raises DataLoss when it is not what was announced."""

    def put_document(self, document: Document, *, root: bool) -> None:
        """Store a manifest; the *root* one, which comes last, is what the name will mean."""

    def put_signatures(self, digest: Digest, signatures: Sequence[Signature]) -> None:
        """Store signatures of a manifest; raises Unimplemented where there is no place for them."""

    def commit(self) -> None:
        """Make the image visible."""

    def close(self) -> None:
        """Give back what it holds; without :meth:`commit` before, nothing is left."""


def read_all(stream: Readable, limit: int) -> bytes:
    """Everything in *stream*, at most *limit* bytes and one more, which tells that there is more."""
    parts: list[bytes] = []
    left = limit + 1
    while left and (data := stream.read(min(left, 1 << 16))):
        parts.append(data)
        left -= len(data)
    return b"".join(parts)
