"""Push an image: blobs first, then manifests, the tag last, so that nothing incomplete is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.errors import DataLoss, InvalidArgument, NotFound
from pinnace.images import labels, progress, select
from pinnace.images.progress import Progress
from pinnace.spec import image as images
from pinnace.spec.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pinnace.images.progress import Report
    from pinnace.registry.resolver import Resolver
    from pinnace.spec.image import Descriptor
    from pinnace.spec.platform import Platform
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
    for _, manifest in tree.manifests:
        for item in (*manifest.layers, manifest.config):
            if not images.is_foreign(item.media_type):
                job.send(str(ref), item)
    documents = [descriptor for descriptor, _ in (*tree.manifests, *reversed(tree.indexes))]
    job.check_complete(tree.indexes, {item.digest for item in documents})
    for item in documents:
        if item.digest != root.digest:
            job.send(f"{ref.locator}@{item.digest}", item)
    job.send(str(ref), root)
    return root


class _Push:
    def __init__(
        self, store: Store, namespace: str, ref: Reference, resolver: Resolver, report: Report
    ) -> None:
        self._content = store.content
        self._namespace = namespace
        self._ref = ref
        self._resolver = resolver
        self._report = report
        self._sent: set[str] = set()

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

    def send(self, reference: str, descriptor: Descriptor) -> None:
        """Upload one piece of content, once."""
        if descriptor.digest in self._sent:
            return
        self._tell(progress.UPLOADING, descriptor, 0)
        try:
            self._resolver.push(
                reference,
                descriptor,
                lambda: self._content.open(self._namespace, descriptor.digest),
                source=self._source(descriptor),
            )
        except (InvalidArgument, DataLoss):
            # Registries refuse bytes of another digest; that is the reason if the copy here is damaged.
            self._content.examine(descriptor.digest)
            raise
        self._sent.add(descriptor.digest)
        self._tell(progress.UPLOADED, descriptor, descriptor.size)

    def _source(self, descriptor: Descriptor) -> str:
        """Another repository of the same registry that the content came from."""
        known = self._content.info(self._namespace, descriptor.digest).labels
        names = known.get(labels.source_key(self._ref), "").split(",")
        return next((name for name in names if name and name != self._ref.repository), "")

    def _tell(self, event: str, descriptor: Descriptor, offset: int) -> None:
        name = str(descriptor.digest)
        self._report(Progress(event, name, offset, descriptor.size, descriptor))


def _children(indexes: list[tuple[Descriptor, images.Index]]) -> Iterator[Descriptor]:
    for _, index in indexes:
        yield from index.manifests
