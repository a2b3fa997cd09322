"""Archives as places: members found by name and read where they lie; written in one pass.

Nothing is unpacked: a blob is read out of the archive, and written straight into it, so that an
image passes over a card once. A compressed archive is unpacked into a temporary file first.
"""

from __future__ import annotations

import os
import posixpath
import shutil
import stat
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from pinnace.errors import DataLoss, InvalidArgument, NotFound
from pinnace.images import tar
from pinnace.images.compression import LayerReader, decompress
from pinnace.images.tarwrite import Header, TarWriter
from pinnace.images.transports import files
from pinnace.store import disk

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from pinnace.images.transports.base import Stream
    from pinnace.spec.digest import Digest

    NameOf = Callable[[Digest], str]

_MAX_MEMBERS = 200_000
_MAX_ARCHIVE = 1 << 40
_MAX_MEMBER_BYTES = (1 << 33) - 1
_LINKS = 8
_CHUNK_BYTES = 1 << 18


class _Place(NamedTuple):
    offset: int
    size: int


class TarReader:
    """The members of an archive by their cleaned names; links inside are followed."""

    def __init__(self, path: str, temporary: str) -> None:
        """Raises NotFound, InvalidArgument or DataLoss for what is no archive."""
        self.path = path
        self._places: dict[str, _Place] = {}
        self._links: dict[str, str] = {}
        self._file = _plain(path, temporary)
        try:
            self._scan()
        except BaseException:
            self._file.close()
            raise

    def _scan(self) -> None:
        total = os.fstat(self._file.fileno()).st_size
        reader = _Seeker(self._file, total)
        for member in tar.members(reader, _MAX_MEMBERS):
            name = _clean(member.name)
            if member.kind == tar.REGULAR and member.segments is None:
                if reader.at + member.size > total:
                    raise DataLoss(f"{self.path} ends in the middle of {member.shown}")
                self._places[name] = _Place(reader.at, member.size)
                self._links.pop(name, None)
            elif member.kind in (tar.SYMLINK, tar.HARD_LINK):
                target = member.linkname
                if member.kind == tar.SYMLINK:
                    target = posixpath.join(posixpath.dirname(member.name), target)
                self._links[name] = _clean(target)
            reader.skip(member.size + tar.padding(member.size))

    def size(self, name: str) -> int:
        """Bytes of a member; raises NotFound."""
        return self._place(name).size

    def has(self, name: str) -> bool:
        """Whether the archive has such a member."""
        try:
            self._place(name)
        except NotFound:
            return False
        return True

    def open(self, name: str) -> Stream:
        """A member from its beginning; raises NotFound. Safe for many threads."""
        return _Slice(os.dup(self._file.fileno()), *self._place(name))

    def read(self, name: str, limit: int) -> bytes:
        """A whole member of at most *limit* bytes; raises NotFound, DataLoss beyond."""
        place = self._place(name)
        if place.size > limit:
            raise DataLoss(f"{name} in {self.path} is larger than {limit} bytes")
        return os.pread(self._file.fileno(), place.size, place.offset)

    def _place(self, name: str) -> _Place:
        key = _clean(name.encode(errors="surrogateescape"))
        for _ in range(_LINKS):
            if key in self._places:
                return self._places[key]
            if key not in self._links:
                break
            key = self._links[key]
        raise NotFound(f"{self.path} does not hold {name[:200]!r}")

    def close(self) -> None:
        """Close the archive; streams that are open stay so."""
        self._file.close()


def _clean(name: bytes) -> str:
    return posixpath.normpath(name.decode(errors="surrogateescape")).lstrip("/")


def _plain(path: str, temporary: str) -> BinaryIO:
    """The archive as an uncompressed file that can be read anywhere."""
    if path == "-" or (os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode)):
        raise InvalidArgument(f"{path} is not a file", hint="an archive is read back and forth")
    file = files.open_regular(path)
    start = file.read(4)
    file.seek(0)
    if start[:2] != b"\x1f\x8b" and start != b"\x28\xb5\x2f\xfd":
        return file
    with file:
        spooled = tempfile.TemporaryFile(dir=temporary or None)  # noqa: SIM115 (returned open)
        try:
            with disk.errors("unpack the archive"):
                for chunk in decompress(file, _MAX_ARCHIVE):
                    spooled.write(chunk)
                spooled.flush()
        except BaseException:
            spooled.close()
            raise
    return spooled


class _Seeker(LayerReader):
    """What the reader of tars needs, over a file; data is passed over without being read."""

    def __init__(self, file: BinaryIO, total: int) -> None:
        # The base class's state is for streams and stays unused: every way to read is replaced.
        self._source = file
        self._total = total
        self.at = 0

    def block(self) -> bytes:
        return self.read(512)

    def read(self, size: int) -> bytes:
        data = os.pread(self._source.fileno(), size, self.at)
        self.at += len(data)
        return data

    def skip(self, size: int) -> None:
        self.at = min(self._total, self.at + size)


class _Slice:
    """Part of a file as a stream; owns *fd*."""

    def __init__(self, fd: int, offset: int, size: int) -> None:
        self._fd = fd
        self._at = offset
        self._end = offset + size

    def read(self, size: int = -1, /) -> bytes:
        left = self._end - self._at
        data = os.pread(self._fd, left if size < 0 else min(size, left), self._at)
        self._at += len(data)
        return data

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class ArchiveWriter:
    """A tar archive in the making; it takes its place when it is finished.

    Where *path* is no file (``/dev/stdout``) it is made in a temporary one and copied there.
    """

    def __init__(self, path: str, temporary: str) -> None:
        self._path = path
        self._direct = not os.path.exists(path) or os.path.isfile(path)
        folder = (os.path.dirname(path) or ".") if self._direct else (temporary or None)
        with disk.errors(f"write {path}"):
            fd, self._partial = tempfile.mkstemp(prefix=".partial-", dir=folder)
        self._file: BinaryIO = os.fdopen(fd, "w+b")
        self._writer = TarWriter(self._file)
        self._names: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def add(self, name: str, data: bytes) -> None:
        """A small member."""
        if name in self._names:
            return
        with disk.errors(f"write {self._path}"):
            self._writer.add(Header(name.encode()), data)
        self._names.add(name)

    def directory(self, name: str) -> None:
        """A directory, once."""
        if name not in self._names:
            with disk.errors(f"write {self._path}"):
                self._writer.directory(name.encode())
            self._names.add(name)

    def put(
        self, stream: Stream, name_of: NameOf, known: Digest | None = None
    ) -> tuple[Digest, int]:
        """Write a member whose size and name are known when it is written; digest and size.

        *known* is as for :func:`files.copy`.

        Its header is written last, into the gap left for it. When *stream* fails nothing of the
        member stays.
        """
        start = self._file.tell()
        try:
            with disk.errors(f"write {self._path}"):
                self._file.seek(start + 512)
                digest, size = files.copy(stream, self._file, known)
                name = name_of(digest)
                if name in self._names:
                    self._rewind(start)
                    return digest, size
                self._writer.pad(size)
                end = self._file.tell()
                self._file.seek(start)
                # A size that ustar cannot say needs a second header: 8 GiB are enough for a layer.
                self._writer.start(Header(name.encode(), size=_checked(size), mode=0o644))
                self._file.seek(end)
        except BaseException:
            self._rewind(start)
            raise
        self._names.add(name)
        return digest, size

    def _rewind(self, start: int) -> None:
        with suppress(OSError):
            self._file.seek(start)
            self._file.truncate()

    def finish(self) -> None:
        """End the archive and put it where it belongs, durably."""
        with disk.errors(f"write {self._path}"):
            self._writer.finish()
            self._file.flush()
            if not self._direct:
                self._file.seek(0)
                with open(self._path, "wb") as out:
                    shutil.copyfileobj(self._file, out, _CHUNK_BYTES)
                return
            os.fchmod(self._file.fileno(), 0o644)
            os.fsync(self._file.fileno())
            os.rename(self._partial, self._path)
            self._partial = ""
            disk.sync_directory(os.path.dirname(self._path) or ".")

    def close(self) -> None:
        """Throw away what was not finished."""
        self._file.close()
        if self._partial:
            with suppress(OSError):
                os.unlink(self._partial)

    def __exit__(self, *_: object) -> None:
        self.close()


def _checked(size: int) -> int:
    if size > _MAX_MEMBER_BYTES:
        raise InvalidArgument(f"a layer of {size} bytes is too large for an archive")
    return size
