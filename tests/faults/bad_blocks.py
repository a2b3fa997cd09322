"""Blocks of a disk that cannot be read any more: those of a file on an ext4 over ``block_log``'s device."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.block_log import file_system, make_ext4, recorded

# linux/fiemap.h: struct fiemap, then struct fiemap_extent for each piece.
_FIEMAP = 0xC020660B
_HEAD = struct.Struct("<QQIIII")
_EXTENT = struct.Struct("<QQQ16xI12x")
_MOST = 64


class BadDisk:
    """An ext4 of its own; ``root`` is where it is mounted."""

    def __init__(self, root: Path, served: Path, unreadable: Path) -> None:
        self.root = root
        self._served = served
        self._unreadable = unreadable

    def lose(self, path: Path) -> None:
        """From now on the disk cannot read this file's data."""
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
            lines = [f"{start} {length}\n" for start, length in _extents(fd)]
            with self._unreadable.open("a") as file:
                file.writelines(lines)
            _forget(fd)
        finally:
            os.close(fd)
        below = os.open(self._served, os.O_RDONLY)
        try:
            _forget(below)
        finally:
            os.close(below)


@contextmanager
def bad_disk(folder: Path, size: int = 64 << 20) -> Iterator[BadDisk]:
    """Needs root and a mount namespace of one's own."""
    image, unreadable = folder / "disk.img", folder / "unreadable"
    make_ext4(image, size)
    with (
        recorded(image, folder / "log", unreadable=unreadable) as (device, _),
        file_system(device, folder / "disk") as root,
    ):
        yield BadDisk(root, image.with_suffix(".recorded"), unreadable)


def _extents(fd: int) -> list[tuple[int, int]]:
    """Where a file's data is on its device, in bytes; raises AssertionError for a file without any."""
    buffer = bytearray(_HEAD.size + _MOST * _EXTENT.size)
    _HEAD.pack_into(buffer, 0, 0, (1 << 64) - 1, 1, 0, _MOST, 0)  # FIEMAP_FLAG_SYNC
    fcntl.ioctl(fd, _FIEMAP, buffer)
    count = _HEAD.unpack_from(buffer)[3]
    assert 0 < count < _MOST
    found = [_EXTENT.unpack_from(buffer, _HEAD.size + at * _EXTENT.size) for at in range(count)]
    return [(physical, length) for _, physical, length, _ in found]


def _forget(fd: int) -> None:
    """Let the kernel drop what it keeps of a file in memory."""
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
