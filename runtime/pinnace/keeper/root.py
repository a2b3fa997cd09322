"""The root file system of a shim's container: mounted, and taken down again."""

from __future__ import annotations

import contextlib
import os

from pinnace.linux.mount import Mount, mount_all, unmount_all


class Root:
    """What is mounted at ``path``, the bundle's ``rootfs``."""

    __slots__ = ("_held", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._held = -1

    def mount(self, mounts: list[Mount]) -> None:
        """Make the mounts; raises OSError."""
        if mounts:
            mount_all([item._replace(options=tuple(item.options)) for item in mounts], self.path)

    def unmount(self, *, lazily: bool = False) -> None:
        """Take it out of the tree, and with ``lazily`` let its file system go on until :meth:`let_go`.

        The end of a writable overlay flushes the whole file system below it (ovl_sync_fs in the kernel's
        fs/overlayfs/super.c), which takes as long as others write much. Raises OSError.
        """
        if lazily:
            with contextlib.suppress(OSError):  # it is gone: nothing is to be held
                self._held = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        unmount_all(self.path)

    def let_go(self) -> None:
        """The end of what was unmounted lazily."""
        if self._held >= 0:
            os.close(self._held)
            self._held = -1
