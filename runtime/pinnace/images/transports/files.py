"""Files of the transports that live in directories: read without trust, written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from pinnace.errors import DataLoss, InvalidArgument
from pinnace.spec import digest as digests
from pinnace.store import disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pinnace.images.transports.base import Stream
    from pinnace.spec.digest import Digest

_CHUNK_BYTES = 1 << 18


def open_regular(path: str) -> BinaryIO:
    """The file at *path* for reading; raises NotFound, and InvalidArgument for what is no file.

    A fifo in a directory that somebody else filled must not hang us.
    """
    with disk.errors(path):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise InvalidArgument(f"{path} is not a file")
    return os.fdopen(fd, "rb")


def read(path: str, limit: int) -> bytes:
    """The file at *path*, of at most *limit* bytes; raises NotFound, DataLoss beyond."""
    with open_regular(path) as file, disk.errors(path):
        data = file.read(limit + 1)
    if len(data) > limit:
        raise DataLoss(f"{path} is larger than {limit} bytes")
    return data


@contextmanager
def replacing(path: str) -> Iterator[BinaryIO]:
    """A file that takes the place of *path*, durably, when the block ends well; else it is gone."""
    folder = os.path.dirname(path) or "."
    with disk.errors(f"write {path}"):
        fd, partial = tempfile.mkstemp(prefix=".partial-", dir=folder)
        try:
            with os.fdopen(fd, "w+b") as file:
                yield file
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
            os.rename(partial, path)
            disk.sync_directory(folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(partial)
            raise


def write(path: str, data: bytes) -> None:
    """Let *path* hold *data*, durably."""
    with replacing(path) as file:
        file.write(data)


def make_directory(path: str) -> None:
    """A directory, and those above it, unless it is there."""
    with disk.errors(f"make directory {path}"):
        os.makedirs(path, exist_ok=True)


def copy(stream: Stream, out: BinaryIO, known: Digest | None = None) -> tuple[Digest, int]:
    """Write all of *stream*; the sha256 digest and the number of the bytes.

    *known* is the digest of a stream that verifies itself, which is thus not computed twice.
    """
    hasher = hashlib.sha256()
    size = 0
    while data := stream.read(_CHUNK_BYTES):
        if known is None:
            hasher.update(data)
        out.write(data)
        size += len(data)
    return known or digests.of(hasher), size


def store(
    stream: Stream, folder: str, path_of: Callable[[Digest], str], known: Digest | None = None
) -> tuple[Digest, int]:
    """Keep *stream* as the file that *path_of* gives for its digest; written in *folder* first.

    *known* is as for :func:`copy`.
    """
    with disk.errors(f"write into {folder}"):
        fd, partial = tempfile.mkstemp(prefix=".partial-", dir=folder)
        try:
            with os.fdopen(fd, "wb") as file:
                digest, size = copy(stream, file, known)
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
            path = path_of(digest)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.rename(partial, path)
            disk.sync_directory(os.path.dirname(path))
        except BaseException:
            with suppress(OSError):
                os.unlink(partial)
            raise
    return digest, size
