"""Copy a tree as it is: types, owners, modes, times, attributes, hard links, holes.

Both trees are ours, and nobody changes them meanwhile; links are copied, never followed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat

_FICLONE = 0x40049409  # linux/fs.h: share the blocks, where the file system can
_CHUNK = 1 << 24


def copy_tree(source: str, target: str) -> None:
    """Copy what is in the directory *source* into the existing directory *target*, and its looks.

    Raises OSError.
    """
    links: dict[tuple[int, int], str] = {}
    directories = [(source, target)]
    for folder, copy in directories:  # grows while it is walked
        with os.scandir(folder) as entries:
            for entry in entries:
                place = os.path.join(copy, entry.name)
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    os.mkdir(place, 0o700)
                    directories.append((entry.path, place))
                    continue
                known = links.get((status.st_dev, status.st_ino))
                if known is not None:
                    os.link(known, place, follow_symlinks=False)
                    continue
                if status.st_nlink > 1:
                    links[status.st_dev, status.st_ino] = place
                _copy_entry(entry.path, place, status)
                _copy_looks(entry.path, place, status)
    for folder, copy in reversed(directories):
        _copy_looks(folder, copy, os.lstat(folder))


def _copy_entry(source: str, target: str, status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode):
        _copy_file(source, target, status.st_size)
    elif stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(source), target)
    else:
        os.mknod(target, status.st_mode, status.st_rdev)


def _copy_looks(source: str, target: str, status: os.stat_result) -> None:
    """Owner, mode, extended attributes, times: in this order, as chown clears set-id bits."""
    if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
        os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(target, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source, follow_symlinks=False):
        os.setxattr(
            target, name, os.getxattr(source, name, follow_symlinks=False), follow_symlinks=False
        )
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def _copy_file(source: str, target: str, size: int) -> None:
    reader = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        writer = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.ioctl(writer, _FICLONE, reader)
            except OSError:
                _copy_data(reader, writer, size)
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def _copy_data(reader: int, writer: int, size: int) -> None:
    """Copy data and leave holes where the source has them (lseek(2), SEEK_DATA)."""
    os.ftruncate(writer, size)
    at = 0
    while at < size:
        try:
            start = os.lseek(reader, at, os.SEEK_DATA)
            end = os.lseek(reader, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # nothing but a hole to the end
            if error.errno != errno.EINVAL:
                raise
            start, end = at, size  # a file system that knows no holes
        at = _copy_range(reader, writer, start, end)


def _copy_range(reader: int, writer: int, at: int, end: int) -> int:
    os.lseek(writer, at, os.SEEK_SET)
    while at < end:
        data = os.pread(reader, min(_CHUNK, end - at), at)
        if not data:
            return end
        view = memoryview(data)
        while view:
            view = view[os.write(writer, view) :]
        at += len(data)
    return at
