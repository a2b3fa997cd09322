"""The native snapshotter: each snapshot is a full copy of its parent (reflinked where possible).

For file systems that overlayfs cannot stand on. Layout: ``snapshots/<number>/fs``.
"""

from __future__ import annotations

import os

from pinnace.linux.mount import Mount
from pinnace.store.copytree import copy_tree
from pinnace.store.snapshots import VIEW, Snapshot, Snapshotter


class NativeSnapshotter(Snapshotter):
    """Snapshots as plain directories."""

    name = "native"

    def create_directory(self, path: str, kind: str, parent: str) -> None:
        fs = os.path.join(path, "fs")
        os.mkdir(fs, 0o755)
        if parent and kind != VIEW:
            copy_tree(parent, fs)  # modes too
        else:
            os.chmod(fs, 0o755)  # noqa: S103  (a root directory; whatever the umask)

    def mounts_of(self, snapshot: Snapshot) -> list[Mount]:
        number = snapshot.number
        if snapshot.kind == VIEW and snapshot.parents:
            number = snapshot.parents[0]  # committed, so nothing will change it
        mode = "ro" if snapshot.kind == VIEW else "rw"
        return [Mount("bind", self.data_path(number), "", (mode, "rbind"))]
