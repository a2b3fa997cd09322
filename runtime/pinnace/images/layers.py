"""From layers to snapshots: each unpacked once, checked against its diff id, recorded together."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pinnace.errors import DataLoss, InvalidArgument
from pinnace.images import labels, progress, unpack
from pinnace.images.extract import Target
from pinnace.images.progress import Progress
from pinnace.spec import image as images
from pinnace.store import disk
from pinnace.store.overlay import OverlaySnapshotter
from pinnace.store.snapshots import TARGET_LABEL, StagedLayer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from pinnace.images.progress import Report
    from pinnace.spec.digest import Digest
    from pinnace.spec.image import Config, Descriptor, Manifest
    from pinnace.store.snapshots import Snapshotter
    from pinnace.store.store import Store

_locks: dict[tuple[str, str, str], tuple[threading.Lock, int]] = {}
_locks_lock = threading.Lock()


@contextmanager
def only_one(namespace: str, snapshotter: str, chain_id: str) -> Iterator[None]:
    """One unpacking of a chain at a time: the second finds the snapshot of the first.

    Chains are locked from below, so that two images with common layers cannot wait in a circle.
    """
    key = (namespace, snapshotter, chain_id)
    with _locks_lock:
        lock, users = _locks.get(key, (threading.Lock(), 0))
        _locks[key] = (lock, users + 1)
    try:
        with lock:
            yield
    finally:
        with _locks_lock:
            lock, users = _locks[key]
            if users == 1:
                del _locks[key]
            else:
                _locks[key] = (lock, users - 1)


class Unpacker:
    """Unpacks the layers of one image into staged directories, then records them all."""

    def __init__(
        self,
        store: Store,
        namespace: str,
        snapshotter: Snapshotter,
        manifest: Manifest,
        config: Config,
        lease: str,
        report: Report,
    ) -> None:
        """What is there already is kept by *lease*, so that no collection takes it meanwhile.

        Raises InvalidArgument when manifest and config do not have the same layers.
        """
        if len(manifest.layers) != len(config.diff_ids):
            raise InvalidArgument(
                f"image has {len(manifest.layers)} layers, but its config names "
                f"{len(config.diff_ids)}"
            )
        self._content = store.content
        self._namespace = namespace
        self._snapshotter = snapshotter
        self.layers = manifest.layers
        self._config_digest = manifest.config.digest
        self._diff_ids = config.diff_ids
        self._lease = lease
        self._report = report
        self._staged: list[StagedLayer] = []
        self.chain = images.chain_ids(config.diff_ids)
        self.first = self._first_missing()

    def _first_missing(self) -> int:
        """How many of the lower layers are there as snapshots already."""
        for number in reversed(range(len(self.chain))):
            if self._exists(self.chain[number]):
                return number + 1
        return 0

    def taken(self, number: int) -> bool:
        """Whether layer *number* has become a snapshot meanwhile, by somebody else's work."""
        return not self._staged and self._exists(self.chain[number])

    def _exists(self, chain_id: Digest) -> bool:
        return self._snapshotter.hold(self._namespace, chain_id, self._lease)

    def alone(self, number: int) -> AbstractContextManager[None]:
        """Hold it while layer *number* is unpacked and until it is recorded."""
        return only_one(self._namespace, self._snapshotter.name, self.chain[number])

    def add(self, number: int, refetch: Callable[[Descriptor], object] | None) -> None:
        """Unpack layer *number*, the one after those added or found before.

        A copy that the store had before and that turns out damaged is fetched again by *refetch*
        (None for one that has just been fetched). Raises DataLoss, InvalidArgument, what
        unpacking raises.
        """
        layer, diff_id = self.layers[number], self._diff_ids[number]
        self._tell(progress.EXTRACTING, layer)
        try:
            self._unpack(number, layer, diff_id)
        except DataLoss:
            if refetch is None:
                raise
            self._content.damaged(layer.digest)
            refetch(layer)
            self._unpack(number, layer, diff_id)
        self._tell(progress.EXTRACTED, layer)

    def _unpack(self, number: int, layer: Descriptor, diff_id: Digest) -> None:
        lower = self._lower(number)
        path = self._snapshotter.stage(lower[0] if lower else "")
        try:
            target = self._target(self._snapshotter.data_of(path), lower)
            with self._content.open(self._namespace, layer.digest) as stream:
                applied = unpack.apply(stream, target)
            if applied.diff_id != diff_id:
                raise DataLoss(
                    f"layer {layer.digest} unpacks to {applied.diff_id}; its config says {diff_id}"
                )
        except BaseException:
            self._snapshotter.discard(path)
            raise
        parent = str(self.chain[number - 1]) if number else ""
        chain = str(self.chain[number])
        named = {TARGET_LABEL: chain}
        self._staged.append(StagedLayer(path, chain, parent, named, applied.usage))

    def _lower(self, number: int) -> list[str]:
        """Data directories of the layers below, nearest first."""
        staged = [self._snapshotter.data_of(item.path) for item in reversed(self._staged)]
        below = number - len(staged)
        if not below:
            return staged
        return staged + self._snapshotter.paths(self._namespace, self.chain[below - 1])

    def _target(self, root: str, lower: list[str]) -> Target:
        snapshotter = self._snapshotter
        if not isinstance(snapshotter, OverlaySnapshotter) or not lower:
            return Target(root)
        marks = "user.overlay." if snapshotter.userxattr else "trusted.overlay."
        return Target(root, lower, marks)

    def flush(self) -> None:
        """Make what was unpacked durable; before :meth:`record`."""
        if self._staged:
            with disk.errors(f"flush {self._snapshotter.root}"):
                disk.sync_file_system(self._snapshotter.root)

    def record(self) -> None:
        """Make snapshots of it, and let the config refer to them; joins a transaction."""
        if self._staged:
            self._snapshotter.adopt(self._namespace, self._staged, lease=self._lease)
        if self.chain:
            key = f"{labels.SNAPSHOT}.{self._snapshotter.name}"
            new = {key: str(self.chain[-1])}
            self._content.update(self._namespace, self._config_digest, new, [f"labels.{key}"])

    def discard(self) -> None:
        """Remove what was unpacked and not recorded."""
        for item in self._staged:
            self._snapshotter.discard(item.path)

    def _tell(self, event: str, layer: Descriptor) -> None:
        self._report(Progress(event, f"layer-{layer.digest}", 0, layer.size, layer))
