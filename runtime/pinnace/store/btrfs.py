"""The btrfs snapshotter: each snapshot is a subvolume that shares unchanged blocks with its parent.

Layout: ``snapshots/<number>/fs``, where ``fs`` is the subvolume. It is shown by a bind mount, so that
no client needs to know on which device the store is.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from pinnace.errors import FailedPrecondition
from pinnace.linux import btrfs
from pinnace.store import disk
from pinnace.store.native import NativeSnapshotter
from pinnace.store.snapshots import VIEW
from pinnace.store.usage import Usage, changed_usage, disk_usage

if TYPE_CHECKING:
    from pathlib import Path

    from pinnace.store.metadata import Database


class BtrfsSnapshotter(NativeSnapshotter):
    """Snapshots as subvolumes; mounts as those of the native snapshotter."""

    name = "btrfs"

    def __init__(self, root: str | Path, db: Database) -> None:
        """Raises FailedPrecondition when *root* is not on a btrfs."""
        super().__init__(root, db)
        if not btrfs.is_btrfs(self.root):
            raise FailedPrecondition(f"{self.root} is not on a btrfs file system")

    def create_directory(self, path: str, kind: str, parent: str) -> None:
        fs = os.path.join(path, "fs")
        if parent and kind != VIEW:
            btrfs.snapshot(parent, fs)
            return
        btrfs.create(fs)
        os.chmod(fs, 0o755)  # noqa: S103  (a root directory; whatever the umask)

    def discard(self, path: str) -> None:
        fs = self.data_of(path)
        if btrfs.is_subvolume(fs):
            try:
                btrfs.destroy(fs)
            except OSError as error:
                # A container made subvolumes in its own; or a kernel lets only rmdir do it.
                if error.errno not in (errno.ENOTEMPTY, errno.EPERM):
                    raise
        disk.remove_tree(path)

    def measure(self, path: str, parent: str) -> Usage:
        return changed_usage(path, parent) if parent else disk_usage(path)
