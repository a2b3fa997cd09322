"""Reading a file of a board's boot partition, as the firmware of a Raspberry Pi does: FAT16 and FAT32.

The partition is the board's to write, so nothing in it is trusted: every number is checked, and a
chain of clusters that leads nowhere is a :class:`PinnaceError`. Layout: Microsoft's FAT specification, version 1.03.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from toolkit.errors import PinnaceError

_LARGEST = 1 << 20
_ENTRY = 32
_LONG_NAME, _VOLUME, _DIRECTORY = 0x0F, 0x08, 0x10


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where things are, in bytes from the start of the partition."""

    cluster: int
    fat: int
    data: int
    clusters: int
    wide: bool
    root: int
    root_size: int


def read_file(stream: BinaryIO, name: str) -> bytes:
    """The content of ``name`` (``cmdline.txt``, a short name) in the root directory."""
    try:
        layout = _layout(stream)
        if layout.wide:
            directory = _chain(stream, layout, layout.root, _LARGEST)
        else:
            directory = _at(stream, layout.root, layout.root_size)
        first, size = _find(directory, name)
        return _chain(stream, layout, first, size)[:size] if size else b""
    except (struct.error, IndexError) as problem:
        raise PinnaceError(f"the boot partition is damaged: {problem}") from None


def _layout(stream: BinaryIO) -> _Layout:
    boot = _at(stream, 0, 512)
    sector, per_cluster, reserved, fats, entries, small = struct.unpack_from("<HBHBHH", boot, 11)
    fat16, large = struct.unpack_from("<H", boot, 22)[0], struct.unpack_from("<I", boot, 32)[0]
    fat_sectors = fat16 or struct.unpack_from("<I", boot, 36)[0]
    if boot[510:512] != b"\x55\xaa" or sector not in (512, 1024, 2048, 4096) or not per_cluster:
        raise PinnaceError("the boot partition is no FAT file system")
    root = (reserved + fats * fat_sectors) * sector
    data = root + entries * _ENTRY
    clusters = ((small or large) * sector - data) // (per_cluster * sector)
    wide = clusters >= 65525
    start = struct.unpack_from("<I", boot, 44)[0] if wide else root
    size = entries * _ENTRY
    return _Layout(per_cluster * sector, reserved * sector, data, clusters, wide, start, size)


def _find(directory: bytes, name: str) -> tuple[int, int]:
    """The first cluster and the size of a file."""
    stem, _, suffix = name.upper().partition(".")
    wanted = f"{stem:<8}{suffix:<3}".encode()
    for at in range(0, len(directory) - _ENTRY + 1, _ENTRY):
        entry = directory[at : at + _ENTRY]
        if entry[0] == 0:
            break
        attributes = entry[11]
        if attributes & _LONG_NAME == _LONG_NAME or attributes & (_VOLUME | _DIRECTORY):
            continue
        if entry[:11] == wanted:
            high, low, size = *struct.unpack_from("<H", entry, 20), *struct.unpack_from("<HI", entry, 26)  # fmt: skip
            if size > _LARGEST:
                raise PinnaceError(f"{name} on the boot partition has {size} bytes")
            return high << 16 | low, size
    raise PinnaceError(f"the boot partition has no {name}")


def _chain(stream: BinaryIO, layout: _Layout, cluster: int, limit: int) -> bytes:
    """The clusters from ``cluster`` on, until the chain ends or ``limit`` bytes are there."""
    found = b""
    while len(found) < limit:
        if not 2 <= cluster < layout.clusters + 2:
            if cluster >= (0x0FFFFFF8 if layout.wide else 0xFFF8):
                break
            raise PinnaceError("a file on the boot partition leads outside it")
        found += _at(stream, layout.data + (cluster - 2) * layout.cluster, layout.cluster)
        if layout.wide:
            (entry,) = struct.unpack("<I", _at(stream, layout.fat + 4 * cluster, 4))
            cluster = entry & 0x0FFFFFFF
        else:
            (cluster,) = struct.unpack("<H", _at(stream, layout.fat + 2 * cluster, 2))
    return found


def _at(stream: BinaryIO, offset: int, length: int) -> bytes:
    stream.seek(offset)
    return stream.read(length)
