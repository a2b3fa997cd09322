"""Push an image: blobs first, then manifests, the tag last, so that nothing incomplete is named."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from pinnace.errors import Aborted, DataLoss, InvalidArgument, NotFound
from pinnace.images import labels, progress, select
from pinnace.images.jobs import Jobs
from pinnace.images.progress import Progress
from pinnace.spec import image as images
from pinnace.spec.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pinnace.images.progress import Report
    from pinnace.registry.resolver import Resolver
    from pinnace.spec.image import Descriptor
    from pinnace.spec.platform import Platform
    from pinnace.store.content import BlobFile
    from pinnace.store.store import Store


def push(
    store: Store,
    namespace: str,
    name: str,
    reference: str,
    resolver: Resolver,
    *,
    platform: Platform | None = None,
    report: Report = progress.silent,
) -> Descriptor:
    """Push the image called *name* as *reference*; what the tag means then.

    Without *platform* all of it, which must be there; with it, only the manifest for it. Raises
    NotFound (image, content, platform), PermissionDenied, Unavailable, DataLoss.
    """
    ref = Reference.parse(reference).checked()
    root = store.images.get(namespace, name).target
    tree = select.stored(store, namespace, root, platform, name)
    if platform is not None and tree.indexes:
        root = tree.manifests[0][0]
        tree.indexes.clear()
    job = _Push(store, namespace, ref, resolver, report)
    blobs = [item for _, manifest in tree.manifests for item in (*manifest.layers, manifest.config)]
    job.send_all(str(ref), [item for item in blobs if not images.is_foreign(item.media_type)])
    documents = [descriptor for descriptor, _ in (*tree.manifests, *reversed(tree.indexes))]
    job.check_complete(tree.indexes, {item.digest for item in documents})
    for item in documents:
        if item.digest != root.digest:
            job.send(f"{ref.locator}@{item.digest}", item)
    job.send(str(ref), root)
    return root


_PARALLEL = 8
"""Uploads at a time: a registry waits for its disk at the end of each, so more than downloads."""


class _Push:
    def __init__(
        self, store: Store, namespace: str, ref: Reference, resolver: Resolver, report: Report
    ) -> None:
        self._content = store.content
        self._namespace = namespace
        self._ref = ref
        self._resolver = resolver
        self._report = report
        self._stop = threading.Event()

    def check_complete(
        self, indexes: list[tuple[Descriptor, images.Index]], present: set[str]
    ) -> None:
        """A registry refuses an index whose manifests it does not have."""
        missing = [str(item.platform or item.digest) for item in _children(indexes) if item.digest not in present]  # fmt: skip
        if missing:
            raise NotFound(
                f"{self._ref} is not complete here: {', '.join(missing[:5])} was not pulled",
                hint="pull it with --all-platforms, or push with --platform",
            )

    def send_all(self, reference: str, descriptors: Sequence[Descriptor]) -> None:
        """Upload blobs, several at a time, each once; raises what the first that fails raises."""
        wanted = {descriptor.digest: descriptor for descriptor in descriptors}
        jobs = Jobs(
            [partial(self.send, reference, item) for item in wanted.values()], _PARALLEL, self._stop
        )
        try:
            for number in range(len(wanted)):
                jobs.result(number)
        finally:
            jobs.finish()

    def send(self, reference: str, descriptor: Descriptor) -> bool:
        """Upload one piece of content; False when the registry had it."""
        self._check()
        self._tell(progress.UPLOADING, descriptor, 0)
        try:
            sent = self._resolver.push(
                reference,
                descriptor,
                lambda: _Blob(self._content.open(self._namespace, descriptor.digest), self._check),
                source=self._source(descriptor),
            )
        except (InvalidArgument, DataLoss):
            # Registries refuse bytes of another digest; that is the reason if the copy here is damaged.
            self._content.examine(descriptor.digest)
            raise
        self._tell(progress.UPLOADED, descriptor, descriptor.size)
        return sent

    def _check(self) -> None:
        """Raise Aborted once another upload failed."""
        if self._stop.is_set():
            raise Aborted(f"{self._ref}: stopped, as another upload failed")

    def _source(self, descriptor: Descriptor) -> str:
        """Another repository of the same registry that the content came from."""
        known = self._content.info(self._namespace, descriptor.digest).labels
        names = known.get(labels.source_key(self._ref), "").split(",")
        return next((name for name in names if name and name != self._ref.repository), "")

    def _tell(self, event: str, descriptor: Descriptor, offset: int) -> None:
        name = str(descriptor.digest)
        self._report(Progress(event, name, offset, descriptor.size, descriptor))


class _Blob:
    """A blob that is being uploaded, until *check* raises."""

    def __init__(self, file: BlobFile, check: Callable[[], None]) -> None:
        self._file = file
        self._check = check

    def send(self, fd: int, offset: int, size: int) -> int:
        """Let the kernel write up to *size* bytes from *offset* on to the socket *fd*; how many it took."""
        self._check()
        return self._file.send(fd, offset, size)

    def read(self, size: int = -1, /) -> bytes:
        self._check()
        return self._file.read(size)

    def close(self) -> None:
        self._file.close()


def _children(indexes: list[tuple[Descriptor, images.Index]]) -> Iterator[Descriptor]:
    for _, index in indexes:
        yield from index.manifests
