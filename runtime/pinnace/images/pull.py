"""Pull an image: resolve, fetch, unpack, record.

Layers are fetched in parallel while those below are unpacked. Everything becomes visible in one
durable transaction at the end: snapshots, labels and the image's name together. Until then a
lease keeps what is there; what was fetched stays for the next attempt.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from pinnace.errors import ResourceExhausted
from pinnace.images import labels, progress, select
from pinnace.images.jobs import Jobs
from pinnace.images.layers import Unpacker
from pinnace.images.progress import Progress
from pinnace.spec import platform as platforms
from pinnace.store.images import Image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pinnace.images.progress import Report
    from pinnace.registry.resolver import Resolver
    from pinnace.spec.digest import Digest
    from pinnace.spec.platform import Platform
    from pinnace.store.store import Store

PARALLEL = 3


def pull(
    store: Store,
    namespace: str,
    reference: str,
    resolver: Resolver,
    *,
    platform: Platform | None = None,
    all_platforms: bool = False,
    snapshotter: str = "",
    unpack: bool = True,
    name: str = "",
    image_labels: Mapping[str, str] | None = None,
    parallel: int = PARALLEL,
    report: Report = progress.silent,
    stop: threading.Event | None = None,
) -> Image:
    """Pull *reference* and return its record, called *name* (the reference, if empty).

    *platform* is this machine's by default. Setting *stop* ends the pull with Aborted. Raises
    NotFound (image or platform), PermissionDenied, Unavailable, DataLoss, ResourceExhausted.
    """
    report(Progress(progress.RESOLVING, reference))
    resolved, root = resolver.resolve(reference)
    report(Progress(progress.RESOLVED, reference, root.size, root.size, root))
    own = platform or platforms.default()
    with _Work(store, namespace, resolved, resolver, report, stop) as work:
        tree = select.load(root, work.fetcher.document, None if all_platforms else own, reference)
        unpacker = work.unpacker(tree, own, snapshotter) if unpack else None
        work.get_layers(tree, unpacker, parallel)
        if unpacker:
            unpacker.flush()
        with store.db.transaction():
            labels.link(store, namespace, tree)
            if unpacker:
                unpacker.record()
            made = store.images.put(namespace, Image(name or reference, root, image_labels or {}))
    report(Progress(progress.SAVED, made.name, root.size, root.size, root))
    return made


class _Work:
    """What one pull holds: a lease, locks on what it unpacks, directories to be removed."""

    def __init__(
        self,
        store: Store,
        namespace: str,
        reference: str,
        resolver: Resolver,
        report: Report,
        stop: threading.Event | None,
    ) -> None:
        self._store = store
        self._namespace = namespace
        self._report = report
        self._halt = threading.Event()
        self._stack = ExitStack()
        self.lease = self._stack.enter_context(store.leases.temporary(namespace, "pull"))
        stops = (self._halt, stop) if stop else (self._halt,)
        from pinnace.images.fetch import Fetcher  # TLS and HTTP, which imports do not need

        self.fetcher = Fetcher(store, namespace, reference, resolver, self.lease, report, stops)

    def __enter__(self) -> _Work:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def unpacker(self, tree: select.Tree, platform: Platform, snapshotter: str) -> Unpacker | None:
        """For the image that runs here; None when there is none among those of the tree."""
        number = platforms.best(platform, [config.platform for config in tree.configs])
        if number is None:
            return None
        made = Unpacker(
            self._store,
            self._namespace,
            self._store.snapshotter(snapshotter),
            tree.manifests[number][1],
            tree.configs[number],
            self.lease,
            self._report,
        )
        self._stack.callback(made.discard)
        return made

    def get_layers(self, tree: select.Tree, unpacker: Unpacker | None, parallel: int) -> None:
        """Fetch all layers, and unpack those of *unpacker* as they come."""
        wanted = {layer.digest: layer for layer in unpacker.layers} if unpacker else {}
        for _, manifest in tree.manifests:
            wanted.update({layer.digest: layer for layer in manifest.layers})
        jobs = [partial(self.fetcher.blob, layer) for layer in wanted.values()]
        downloads = Jobs(jobs, parallel, self._halt)
        numbers = {digest: number for number, digest in enumerate(wanted)}
        try:
            if unpacker:
                self._unpack(unpacker, numbers, downloads)
            for number in numbers.values():
                downloads.result(number)
        except BaseException as error:
            self._halt.set()
            downloads.finish()
            if isinstance(error, ResourceExhausted):  # the disk is full: others need the space
                for number, layer in enumerate(wanted.values()):
                    self.fetcher.give_back(layer, downloads.succeeded(number))
            raise
        downloads.finish()

    def _unpack(self, unpacker: Unpacker, numbers: Mapping[Digest, int], downloads: Jobs) -> None:
        for number in range(unpacker.first, len(unpacker.layers)):
            self._stack.enter_context(unpacker.alone(number))
            if unpacker.taken(number):
                continue
            fetched = downloads.result(numbers[unpacker.layers[number].digest])
            unpacker.add(number, None if fetched else self.fetcher.blob)
