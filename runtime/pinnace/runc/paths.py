"""Acting on a place inside a container's root: hold it by descriptor, act on that.

``/proc/self/fd/N`` of an O_PATH descriptor is the one way to hand mount(2) a place that cannot be
swapped for a symlink meanwhile. The /proc used is always the host's: everything here happens
before pivot_root.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from pinnace.errors import Error
from pinnace.linux import libc, resolve
from pinnace.linux.kernel import Kernel


class Root:
    """A container's root directory, held open. ``path`` is only for messages."""

    __slots__ = ("fd", "kernel", "path")

    def __init__(self, kernel: Kernel, path: str) -> None:
        self.kernel = kernel
        self.path = path
        self.fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def reopen(self) -> None:
        """Look the root up again: something was mounted on it."""
        os.close(self.fd)
        self.fd = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    @contextlib.contextmanager
    def existing(self, path: str) -> Iterator[str]:
        """``path`` as something to act on; raises FileNotFoundError when it is not there."""
        yield from _held(resolve.open_in_root(self.fd, path, kernel=self.kernel))

    @contextlib.contextmanager
    def mounted(self, path: str, place: str, source: int) -> Iterator[str]:
        """``path`` looked up again, once the file behind ``source`` was mounted on ``place``.

        Options, read-only above all, are for that very mount: who can change the tree meanwhile could
        put another in its place and keep a volume writable. Raises Error when that happened.
        """
        with self.existing(path) as found:
            fd = descriptor(found)
            is_new = libc.mount_id(fd) != libc.mount_id(descriptor(place))
            if not is_new or not os.path.samestat(os.fstat(fd), os.fstat(source)):
                raise Error(f"{path} was changed while it was mounted")
            yield found

    @contextlib.contextmanager
    def directory(self, path: str, mode: int = 0o755) -> Iterator[str]:
        """The directory ``path``, made if it is missing."""
        yield from _held(resolve.make_directory(self.fd, path, mode, kernel=self.kernel))

    @contextlib.contextmanager
    def file(self, path: str, *, follow: bool = False) -> Iterator[str]:
        """The file ``path``, made empty if it is missing; see ``resolve.make_file``."""
        yield from _held(resolve.make_file(self.fd, path, follow=follow, kernel=self.kernel))

    @contextlib.contextmanager
    def parent(self, path: str) -> Iterator[tuple[int, str]]:
        """Descriptor of the directory that holds ``path``, made if missing, and the last name."""
        above, _, name = path.rstrip("/").rpartition("/")
        fd = resolve.make_directory(self.fd, above or "/", kernel=self.kernel)
        try:
            yield fd, name
        finally:
            os.close(fd)


def _held(fd: int) -> Iterator[str]:
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def descriptor(place: str) -> int:
    """The descriptor behind a place that ``Root`` gave."""
    return int(place.rpartition("/")[2])
