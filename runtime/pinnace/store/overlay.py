"""The overlayfs snapshotter: each snapshot holds what differs from its parents.

Layout, as containerd's: ``snapshots/<number>/{fs,work}``. Source of the options: the kernel's
Documentation/filesystems/overlayfs.rst.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pinnace.linux.mount import Mount
from pinnace.store.snapshots import VIEW, Snapshot, Snapshotter

if TYPE_CHECKING:
    from pathlib import Path

    from pinnace.store.metadata import Database

_PARAMETERS = "/sys/module/overlay/parameters"


class OverlaySnapshotter(Snapshotter):
    """Snapshots as layers of overlayfs."""

    name = "overlayfs"

    def __init__(
        self, root: str | Path, db: Database, *, mount_options: tuple[str, ...] = ()
    ) -> None:
        super().__init__(root, db)
        self.options = (*mount_options, *default_options(mount_options))

    @property
    def userxattr(self) -> bool:
        """Whether markers are ``user.overlay.*`` attributes rather than ``trusted.overlay.*``."""
        return "userxattr" in self.options

    def create_directory(self, path: str, kind: str, parent: str) -> None:
        fs = os.path.join(path, "fs")
        os.mkdir(fs, 0o755)
        mode = 0o755
        if kind != VIEW:
            os.mkdir(os.path.join(path, "work"), 0o711)
        if parent:
            # The upper directory is what the root directory of the merged tree looks like.
            status = os.stat(parent)
            mode = status.st_mode & 0o7777
            if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                os.chown(fs, status.st_uid, status.st_gid)
        os.chmod(fs, mode)  # whatever the umask

    def mounts_of(self, snapshot: Snapshot) -> list[Mount]:
        own = self.data_path(snapshot.number)
        read_only = snapshot.kind == VIEW
        if not snapshot.parents:
            return [_bind(own, read_only)]
        lower = [self.data_path(number) for number in snapshot.parents]
        if read_only and len(lower) == 1:
            return [_bind(lower[0], read_only)]
        options = []
        if not read_only:
            work = os.path.join(self.directory(snapshot.number), "work")
            options += [f"workdir={work}", f"upperdir={own}"]
        options.append(f"lowerdir={':'.join(lower)}")
        options += self.options
        return [Mount("overlay", "overlay", "", tuple(options))]


def _bind(path: str, read_only: bool) -> Mount:
    return Mount("bind", path, "", ("ro" if read_only else "rw", "rbind"))


def default_options(given: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Options that layers need on this kernel.

    ``index=off``: layers are shared between mounts. ``redirect_dir`` and ``metacopy`` off where
    they are on by default: a layer must hold whole files in their places, or it cannot be made
    into a tar. ``userxattr`` inside a user namespace, where ``trusted.*`` is out of reach.
    """
    named = {option.partition("=")[0] for option in given}
    options = []
    if "index" not in named and _parameter("index") is not None:
        options.append("index=off")
    options += [
        f"{name}=off"
        for name in ("redirect_dir", "metacopy")
        if name not in named and _parameter(name) == "Y"
    ]
    if "userxattr" not in named and _in_user_namespace():
        options.append("userxattr")
    return tuple(options)


def _parameter(name: str) -> str | None:
    try:
        with open(os.path.join(_PARAMETERS, name), encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


def _in_user_namespace() -> bool:
    """Whether this is another than the initial user namespace (user_namespaces(7))."""
    try:
        with open("/proc/self/uid_map", encoding="ascii") as file:
            return file.read().split() != ["0", "0", "4294967295"]
    except OSError:
        return False
