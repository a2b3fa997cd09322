"""The whole store under one root directory, opened together."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pinnace.errors import InvalidArgument
from pinnace.linux.btrfs import is_btrfs
from pinnace.store import disk
from pinnace.store.btrfs import BtrfsSnapshotter
from pinnace.store.containers import ContainerStore
from pinnace.store.content import ContentStore
from pinnace.store.images import ImageStore
from pinnace.store.leases import LeaseStore
from pinnace.store.namespaces import NamespaceStore
from pinnace.store.native import NativeSnapshotter
from pinnace.store.overlay import OverlaySnapshotter
from pinnace.store.salvage import open_or_rebuild
from pinnace.store.sandboxes import SandboxStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pinnace.store.snapshots import Snapshotter

DEFAULT_SNAPSHOTTER = "overlayfs"


class Store:
    """Metadata, content and snapshots below one directory, in containerd's layout."""

    def __init__(self, root: str | Path) -> None:
        """Open or create everything; raises FailedPrecondition, PermissionDenied.

        ``notice`` says in a sentence what had to be repaired; it is empty as a rule.
        """
        self.root = os.fspath(root)
        with disk.errors(f"create root directory {self.root}"):
            os.makedirs(self.root, mode=0o711, exist_ok=True)
        self.db, self.notice = open_or_rebuild(os.path.join(self.root, "metadata.db"))
        self.content = ContentStore(self._plugin("content", "content"), self.db)
        self.namespaces = NamespaceStore(self.db)
        self.images = ImageStore(self.db)
        self.containers = ContainerStore(self.db)
        self.sandboxes = SandboxStore(self.db)
        self.leases = LeaseStore(self.db)
        self.snapshotters = {snapshotter.name: snapshotter for snapshotter in self._backends()}
        for snapshotter in self.snapshotters.values():
            snapshotter.cleanup(keep=bool(self.notice))

    def _backends(self) -> Iterator[Snapshotter]:
        yield OverlaySnapshotter(self._plugin("snapshotter", "overlayfs"), self.db)
        yield NativeSnapshotter(self._plugin("snapshotter", "native"), self.db)
        if is_btrfs(self.root):
            yield BtrfsSnapshotter(self._plugin("snapshotter", "btrfs"), self.db)

    def _plugin(self, kind: str, name: str) -> str:
        return os.path.join(self.root, f"io.containerd.{kind}.v1.{name}")

    def snapshotter(self, name: str = "") -> Snapshotter:
        """The snapshotter called *name* (the default one without a name); raises InvalidArgument."""
        found = self.snapshotters.get(name or DEFAULT_SNAPSHOTTER)
        if found is None:
            raise InvalidArgument(
                f"snapshotter not loaded: {name}",
                hint=f"there are {', '.join(sorted(self.snapshotters))}",
            )
        return found

    def close(self) -> None:
        """Close the database."""
        self.db.close()
