"""Small files of a container's root, read before the container exists (``/etc/passwd``, ``/etc/group``).

The root is given as a snapshot's mounts. An overlay is not mounted for this: its layers are looked through
from the top, as the kernel would (Documentation/filesystems/overlayfs.rst). Where symlinks are in the way
the mounts are made for a moment, detached at once, and read through a descriptor.

Everything here belongs to an image and is hostile: no link is followed out of the root, only regular files
are read, and no more of them than asked for.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

from pinnace.linux.mount import MNT_DETACH, Mount, mount_all, unmount
from pinnace.linux.resolve import open_in_root

_LIMIT = 1 << 20
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class _SymlinkInTheWay(Exception):
    """The path cannot be looked up layer by layer."""


def read_files(mounts: Sequence[Mount], paths: Sequence[str]) -> list[str]:
    """The text of each of ``paths`` inside the root that ``mounts`` make; ``""`` where there is none.

    At most 1 MiB of each is read. Raises OSError when the root cannot be looked at.
    """
    if len(mounts) == 1 and mounts[0].type == "overlay":
        layers = _layers(mounts[0])
        try:
            return [_read_layered(layers, path) for path in paths]
        except _SymlinkInTheWay:
            pass
    if len(mounts) == 1 and mounts[0].type == "bind":
        root = os.open(mounts[0].source, _DIRECTORY)
    else:
        root = _open_mounted(mounts)
    try:
        return [_read_in(root, path) for path in paths]
    finally:
        os.close(root)


def read_files_below(directory: str, paths: Sequence[str]) -> list[str]:
    """As :func:`read_files`, for a root that is a plain directory."""
    return read_files([Mount("bind", directory)], paths)


def _layers(overlay: Mount) -> list[str]:
    """The directories of an overlay, uppermost first."""
    options = dict(option.partition("=")[::2] for option in overlay.options)
    lower = [part for part in options.get("lowerdir", "").split(":") if part]
    return [options["upperdir"], *lower] if "upperdir" in options else lower


def _read_layered(layers: Sequence[str], path: str) -> str:
    for layer in layers:
        found, text = _look(layer, path.strip("/").split("/"))
        if found:
            return text
    return ""


def _look(layer: str, parts: Sequence[str]) -> tuple[bool, str]:
    """Whether ``layer`` decides what the path is, and the text of the file if it has one."""
    fd = os.open(layer, _DIRECTORY)
    opaque = False
    try:
        for part in parts:
            opaque = opaque or _is_opaque(fd)
            try:
                entry = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            except FileNotFoundError:
                return opaque, ""
            except NotADirectoryError:
                return True, ""  # a file in place of the directory hides what is below
            os.close(fd)
            fd = entry
            mode = os.fstat(fd).st_mode
            if stat.S_ISLNK(mode):
                raise _SymlinkInTheWay
            if stat.S_ISCHR(mode):
                return True, ""  # a whiteout; any other device is no file for us either
        return True, _text(fd)
    finally:
        os.close(fd)


def _is_opaque(fd: int) -> bool:
    for name in _OPAQUE:
        try:
            if os.getxattr(f"/proc/self/fd/{fd}", name) == b"y":
                return True
        except OSError as problem:
            if problem.errno not in (errno.ENODATA, errno.ENOTSUP, errno.EPERM):
                raise
    return False


def _open_mounted(mounts: Sequence[Mount]) -> int:
    import tempfile  # 4 ms that are seldom needed

    place = tempfile.mkdtemp(prefix="pinnace-rootfs-")
    try:
        mount_all(list(mounts), place)
        try:
            return os.open(place, _DIRECTORY)
        finally:
            # The descriptor keeps the mount alive; nobody else sees it any more.
            for _ in mounts:
                unmount(place, MNT_DETACH)
    finally:
        os.rmdir(place)


def _read_in(root: int, path: str) -> str:
    try:
        fd = open_in_root(root, path)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    try:
        return _text(fd)
    finally:
        os.close(fd)


def _text(fd: int) -> str:
    """The text of the regular file behind an ``O_PATH`` descriptor, ``""`` for anything else."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        return ""
    with open(f"/proc/self/fd/{fd}", "rb") as file:
        return file.read(_LIMIT).decode("utf-8", "surrogateescape")
