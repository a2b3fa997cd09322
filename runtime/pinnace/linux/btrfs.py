"""Subvolumes of btrfs: made, copied in an instant, removed whole. Source: linux/btrfs.h.

Everything raises OSError. The numbers are the same on every architecture.
"""

from __future__ import annotations

import fcntl
import os
import struct

_SNAP_CREATE = 0x50009401
_SUBVOL_CREATE = 0x5000940E
_SNAP_DESTROY = 0x5000940F
_FS_INFO = 0x8400941F
_FS_INFO_BYTES = 1024
_VOLUME = struct.Struct("=q4088s")  # struct btrfs_ioctl_vol_args
_ROOT_INODE = 256
"""The inode number of every subvolume's root (BTRFS_FIRST_FREE_OBJECTID)."""


def is_btrfs(path: str) -> bool:
    """Whether the directory *path* is on a btrfs."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _FS_INFO, bytes(_FS_INFO_BYTES))
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def is_subvolume(path: str) -> bool:
    """Whether *path*, which is on a btrfs, is the root of a subvolume; False if it is not there."""
    try:
        return os.lstat(path).st_ino == _ROOT_INODE
    except FileNotFoundError:
        return False


def create(path: str) -> None:
    """Make an empty subvolume."""
    _call(_SUBVOL_CREATE, path, 0)


def snapshot(source: str, path: str) -> None:
    """Make a writable copy of the subvolume *source*, which shares all its blocks."""
    fd = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _call(_SNAP_CREATE, path, fd)
    finally:
        os.close(fd)


def destroy(path: str) -> None:
    """Remove a subvolume with all its files; OSError (ENOTEMPTY) when others are in it."""
    _call(_SNAP_DESTROY, path, 0)


def _call(request: int, path: str, source: int) -> None:
    parent, name = os.path.split(path)
    fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, request, bytearray(_VOLUME.pack(source, os.fsencode(name))))
    finally:
        os.close(fd)
