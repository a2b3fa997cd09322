"""Copying an image from one place to another: the documents, the blobs, the signatures.

Promise: what arrives is what was read, verified by digest on its way; the image's name appears in the
target after all that belongs to it; and nothing is copied that the policy does not allow.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from pinnace.errors import Aborted, FailedPrecondition, InvalidArgument, Unimplemented
from pinnace.images import convert, progress, select, streams
from pinnace.images.jobs import Jobs
from pinnace.images.progress import Progress
from pinnace.images.transports import base
from pinnace.images.transports.base import Blob, Document
from pinnace.spec import digest as digests
from pinnace.spec import image as images
from pinnace.spec import platform as platforms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pinnace.images.progress import Report
    from pinnace.images.signing.signature import Signature
    from pinnace.images.transports.base import Source, Stream, Target
    from pinnace.spec.digest import Digest
    from pinnace.spec.image import Descriptor
    from pinnace.spec.platform import Platform
    from pinnace.spec.reference import Reference

    Sign = Callable[[bytes, Reference], Signature]
    """Makes a signature of a manifest under the name that it gets."""
    Check = Callable[[Source, Document, Sequence[Signature]], None]
    """Raises PermissionDenied unless the policy allows the image."""

SYSTEM, ALL, INDEX_ONLY = "system", "all", "index-only"
PARALLEL = 6


class Options(NamedTuple):
    """How to copy; see the flags of ``skopeo copy``."""

    check: Check
    multi_arch: str = SYSTEM
    platform: Platform | None = None
    format: str = ""
    compression: str = ""
    level: int | None = None
    force_compression: bool = False
    preserve_digests: bool = False
    remove_signatures: bool = False
    signers: Sequence[Sign] = ()
    sign_identity: Reference | None = None
    parallel: int = PARALLEL
    report: Report = progress.silent


def copy(source: Source, target: Target, options: Options) -> Document:
    """Copy the image; what its name means in the target.

    Raises NotFound (image, platform), PermissionDenied (registry, policy), DataLoss, Unavailable,
    FailedPrecondition when a digest would have to change but must not.
    """
    return _Copy(source, target, options).run()


class _Copy:
    def __init__(self, source: Source, target: Target, options: Options) -> None:
        self._source = source
        self._target = target
        self._options = options
        self._stop = threading.Event()
        self._done: dict[tuple[str, str], Descriptor] = {}

    def run(self) -> Document:
        root = self._source.root()
        if not images.is_index(root.media_type):
            made = self._image(root, top=True)
        elif self._options.multi_arch == SYSTEM:
            made = self._image(self._chosen(root), top=True)
        else:
            made = self._index(root)
        self._target.commit()
        return made

    def _chosen(self, root: Document) -> Document:
        """The manifest of an index that suits the platform best."""
        wanted = self._options.platform or platforms.default()
        descriptor = _descriptor(root)
        tree = select.load(descriptor, partial(self._read, root), wanted, self._source.name)
        return self._source.document(tree.manifests[0][0])

    def _read(self, root: Document, descriptor: Descriptor) -> bytes:
        if descriptor.digest == root.digest:
            return root.data
        if images.is_config(descriptor.media_type):
            return self._config(descriptor)
        return self._source.document(descriptor).data

    def _config(self, descriptor: Descriptor) -> bytes:
        stream = self._verified(descriptor)
        try:
            data = base.read_all(stream, images.MAX_CONFIG_BYTES)
        finally:
            stream.close()
        if len(data) > images.MAX_CONFIG_BYTES:
            raise InvalidArgument(f"config {descriptor.digest} is too large")
        return data

    # Indexes.

    def _index(self, root: Document) -> Document:
        if not any(images.is_index(kind) for kind in self._target.accepts):
            raise Unimplemented(
                f"{self._target.name} holds one image, not one for each platform",
                hint="copy one platform: leave out --all, or use --override-arch",
            )
        found = images.parse_index(root.data, root.media_type)
        form = self._form(root.media_type)
        signatures = self._signatures(root)
        made = []
        if self._options.multi_arch == INDEX_ONLY:
            self._options.check(self._source, root, signatures)
            made = list(found.manifests)
        else:
            for number, item in enumerate(found.manifests, 1):
                self._say(f"Copying image {item.digest} ({number}/{len(found.manifests)})")
                made.append(self._instance(item))
        document = root
        if made != list(found.manifests) or convert.format_of(root.media_type) != form:
            data = convert.index(images.parse_document(root.data), form, made)
            media_type = convert.media_type_in(root.media_type, form)
            document = Document(data, media_type, digests.sha256(data))
        self._put(document, signatures, root, top=True)
        return document

    def _instance(self, item: Descriptor) -> Descriptor:
        if images.is_index(item.media_type):
            raise Unimplemented(f"{self._source.name} is an index of indexes")
        made = self._image(self._source.document(item), top=False)
        return item._replace(media_type=made.media_type, digest=made.digest, size=len(made.data))

    # One image.

    def _image(self, document: Document, *, top: bool) -> Document:
        signatures = self._signatures(document)
        self._options.check(self._source, document, signatures)
        manifest = images.parse_manifest(document.data, document.media_type)
        form = self._form(document.media_type)
        if convert.is_image(manifest):
            config, layers = self._blobs(manifest, form)
        else:
            if form != convert.format_of(document.media_type):
                raise Unimplemented(
                    f"{self._source.name} is no container image, and cannot be converted"
                )
            config, layers = self._as_they_are(manifest)
        made = document
        if (config, layers) != (manifest.config, list(manifest.layers)) or (
            form != convert.format_of(document.media_type)
        ):
            data = convert.manifest(images.parse_document(document.data), form, config, layers)
            media_type = convert.media_type_in(document.media_type, form)
            made = Document(data, media_type, digests.sha256(data))
        self._put(made, signatures, document, top=top)
        return made

    def _form(self, media_type: str) -> str:
        """The form that a document gets: as wished, as it is, or as the target must have it."""
        wanted = self._options.format
        if wanted:
            if convert.media_type_in(media_type, wanted) not in self._target.accepts:
                raise InvalidArgument(f"{self._target.name} cannot hold the format {wanted}")
            return wanted
        if media_type in self._target.accepts:
            return convert.format_of(media_type)
        for form in (convert.OCI, convert.DOCKER):
            if convert.media_type_in(media_type, form) in self._target.accepts:
                return form
        raise Unimplemented(f"{self._target.name} cannot hold {media_type}")

    def _blobs(self, manifest: images.Manifest, form: str) -> tuple[Descriptor, list[Descriptor]]:
        """Copy config and layers; what they are in the target."""
        config = images.parse_config(self._config(manifest.config))
        diff_ids = config.diff_ids
        if len(diff_ids) != len(manifest.layers):
            raise InvalidArgument(
                f"{self._source.name}: its config has {len(diff_ids)} layers, "
                f"its manifest {len(manifest.layers)}"
            )
        jobs: list[Callable[[], bool]] = []
        queued = set()
        for layer, diff_id in zip(manifest.layers, diff_ids, strict=True):
            if layer.digest not in queued:
                jobs.append(partial(self._layer, layer, diff_id, form))
                queued.add(layer.digest)
        jobs.append(partial(self._plain_blob, manifest.config))
        self._run(jobs)
        return manifest.config, [
            self._done.get((layer.digest, form), layer)._replace(annotations=layer.annotations)
            for layer in manifest.layers
        ]

    def _as_they_are(self, manifest: images.Manifest) -> tuple[Descriptor, list[Descriptor]]:
        every = {item.digest: item for item in (*manifest.layers, manifest.config)}
        self._run([partial(self._plain_blob, item) for item in every.values()])
        return manifest.config, list(manifest.layers)

    def _run(self, jobs: Sequence[Callable[[], bool]]) -> None:
        parallel = self._options.parallel if self._target.parallel else 1
        downloads = Jobs(jobs, parallel, self._stop)
        try:
            for number in range(len(jobs)):
                downloads.result(number)
        except BaseException:
            self._stop.set()
            raise
        finally:
            downloads.finish()

    def _plain_blob(self, descriptor: Descriptor) -> bool:
        if self._target.has(descriptor, self._source.reference):
            self._tell(progress.EXISTS, descriptor, descriptor.size)
            return False
        self._target.put(Blob(partial(self._verified, descriptor, told=True), descriptor))
        self._tell(progress.COMPLETE, descriptor, descriptor.size)
        return True

    def _layer(self, layer: Descriptor, diff_id: Digest, form: str) -> bool:
        """Copy a layer, packed as the target wants it."""
        if images.is_foreign(layer.media_type) and layer.urls:
            return False  # it must not be distributed: it stays where its URLs lead
        old = convert.compression_of(layer.media_type)
        new = self._compression(old, form)
        if new == old:
            return self._plain_blob(layer)
        media_type = convert.layer_type(form, new)

        def repacked() -> Stream:
            unpacked = streams.unpacked(self._verified(layer, told=True), diff_id)
            return streams.packed(unpacked, new, self._options.level) if new else unpacked

        digest, size = self._target.put(Blob(repacked))
        self._done[layer.digest, form] = layer._replace(
            media_type=media_type, digest=digest, size=size
        )
        self._tell(progress.COMPLETE, layer, layer.size)
        return True

    def _compression(self, old: str, form: str) -> str:
        """How a layer is to be compressed that is compressed as *old* now."""
        wish, wanted = self._target.layers, self._options.compression
        if wish == base.DECOMPRESS:
            return ""
        if self._options.preserve_digests:
            return old
        if wanted and (wish == base.COMPRESS or self._options.force_compression):
            new = wanted
        elif wish == base.COMPRESS and not old:
            new = streams.GZIP
        else:
            new = old
        return streams.GZIP if (new, form) == (streams.ZSTD, convert.DOCKER) else new

    def _verified(self, descriptor: Descriptor, *, told: bool = False) -> Stream:
        """A blob of the source, checked while it is read."""
        stream = self._source.blob(descriptor)
        if told:
            stream = streams.counted(stream, partial(self._count, descriptor))
        return streams.verified(stream, descriptor.digest, descriptor.size, self._source.name)

    def _count(self, descriptor: Descriptor, count: int) -> None:
        if self._stop.is_set():
            raise Aborted(f"{self._source.name}: stopped")
        self._tell(progress.DOWNLOADING, descriptor, count)

    # Signatures, and what is said.

    def _signatures(self, document: Document) -> Sequence[Signature]:
        return self._source.signatures(document.digest)

    def _put(
        self, made: Document, signatures: Sequence[Signature], old: Document, *, top: bool
    ) -> None:
        if made.digest != old.digest:
            self._may_change(signatures)
        kept = [] if self._options.remove_signatures else list(signatures)
        for sign in self._options.signers:
            kept.append(sign(made.data, self._identity()))
        self._target.put_document(made, root=top)
        if kept:
            self._target.put_signatures(made.digest, kept)

    def _may_change(self, signatures: Sequence[Signature]) -> None:
        if self._options.preserve_digests:
            raise FailedPrecondition(
                f"{self._target.name} needs another form of the image: its digest would change",
                hint="leave out --preserve-digests, or choose another target",
            )
        if signatures and not self._options.remove_signatures:
            raise FailedPrecondition(
                f"{self._target.name} needs another form of the image: "
                "its signatures would not fit any more",
                hint="leave them out: --remove-signatures",
            )

    def _identity(self) -> Reference:
        found = self._options.sign_identity or self._target.reference
        if found is None:
            raise InvalidArgument(
                f"{self._target.name} gives the image no name that could be signed",
                hint="give one: --sign-identity",
            )
        return found

    def _say(self, text: str) -> None:
        self._options.report(Progress(progress.SAYING, text))

    def _tell(self, event: str, descriptor: Descriptor, offset: int) -> None:
        name = str(descriptor.digest)
        self._options.report(Progress(event, name, offset, descriptor.size, descriptor))


def _descriptor(document: Document) -> Descriptor:
    return images.Descriptor(document.media_type, document.digest, len(document.data))
