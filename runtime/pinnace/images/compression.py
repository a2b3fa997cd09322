"""Layers as byte streams: decompressed, hashed and bounded while they are read.

The compression is told from the first bytes, as media types are wrong in the field. gzip runs
through zlib, which works without the interpreter lock, as does hashing: on a board with several
cores a reader thread does both while the layer is being written out.
"""

from __future__ import annotations

import os
import queue
import threading
import zlib
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pinnace.errors import DataLoss, Error, InvalidArgument
from pinnace.spec import digest as digests
from pinnace.spec.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator

_IN_BYTES = 1 << 18
_OUT_BYTES = 1 << 20
_AHEAD = 4
_GZIP = b"\x1f\x8b\x08"
_ZSTD = b"\x28\xb5\x2f\xfd"
_RATIO_FROM = 1 << 30
_MAX_RATIO = 500


class Readable(Protocol):
    """What a layer is read from."""

    def read(self, size: int = -1, /) -> bytes | None: ...


class Summary(NamedTuple):
    """What went by: the digest of the uncompressed bytes and their number."""

    diff_id: Digest
    size: int


def decompress(source: Readable, limit: int) -> Iterator[bytes]:
    """The uncompressed bytes of *source* in chunks of at most 1 MiB.

    Raises DataLoss for damaged data, InvalidArgument beyond *limit* bytes or, once there is a
    GiB, beyond 500 times the compressed size.
    """
    counted = _Counted(source)
    start = counted.read(4)
    while 0 < len(start) < 4 and (more := counted.read(4 - len(start))):
        start += more
    if start.startswith(_GZIP):
        chunks = _gunzip(counted, start)
    elif start == _ZSTD or (start[1:] == b"\x2a\x4d\x18" and start[0] & 0xF0 == 0x50):
        chunks = _unzstd(counted, start)
    else:
        chunks = _plain(counted, start)
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise InvalidArgument(f"layer is larger than {limit} bytes uncompressed")
        if size > _RATIO_FROM and size > _MAX_RATIO * counted.count:
            raise InvalidArgument(
                f"layer of {counted.count} bytes unpacks to more than {size}: refused"
            )
        yield chunk


class _Counted:
    def __init__(self, source: Readable) -> None:
        self._source = source
        self.count = 0

    def read(self, size: int = _IN_BYTES) -> bytes:
        data = self._source.read(size) or b""
        self.count += len(data)
        return data


def _plain(source: _Counted, data: bytes) -> Iterator[bytes]:
    while data:
        yield data
        data = source.read(_OUT_BYTES)


def _gunzip(source: _Counted, data: bytes) -> Iterator[bytes]:
    """All members of a gzip file (RFC 1952, 2.2); zero padding behind the last is allowed."""
    while data:
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            if not data:
                raise DataLoss("gzip layer ends too early")
            try:
                chunk = member.decompress(data, _OUT_BYTES)
            except zlib.error as error:
                raise DataLoss(f"gzip layer is damaged: {error}") from None
            if chunk:
                yield chunk
            data = member.unconsumed_tail or (b"" if member.eof else source.read())
        data = (member.unused_data or source.read()).lstrip(b"\0")
        while not data:
            more = source.read()
            if not more:
                return
            data = more.lstrip(b"\0")


def _unzstd(source: _Counted, data: bytes) -> Iterator[bytes]:
    from pinnace.linux.zstd import Decompressor  # ctypes and a library few layers need

    decompressor = Decompressor()
    try:
        while data:
            yield from decompressor.feed(data)
            data = source.read()
        if not decompressor.finished:
            raise DataLoss("zstd layer ends too early")
    finally:
        decompressor.close()


class LayerReader:
    """Reads an uncompressed layer in order, and knows its digest at the end."""

    def __init__(self, source: Readable, limit: int, *, ahead: bool | None = None) -> None:
        """With *ahead* a thread decompresses and hashes; by default where there are cores."""
        self._hasher = digests.hasher_for("sha256")
        self._size = 0
        chunks = self._hashed(decompress(source, limit))
        ahead = (os.cpu_count() or 1) > 1 if ahead is None else ahead
        self._pump = _Pump(chunks) if ahead else None
        self._chunks: Iterator[bytes] = iter(self._pump) if self._pump else chunks
        self._chunk = b""
        self._at = 0

    def _hashed(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._hasher.update(chunk)
            self._size += len(chunk)
            yield chunk

    def _more(self) -> bool:
        self._chunk = next(self._chunks, b"")
        self._at = 0
        return bool(self._chunk)

    def block(self) -> bytes:
        """The next 512 bytes; fewer only at the end."""
        at = self._at
        if at + 512 <= len(self._chunk):
            self._at = at + 512
            return self._chunk[at : at + 512]
        return self.read(512)

    def read(self, size: int) -> bytes:
        """The next *size* bytes; fewer only at the end."""
        parts = []
        while size:
            if self._at == len(self._chunk) and not self._more():
                break
            part = self._chunk[self._at : self._at + size]
            self._at += len(part)
            size -= len(part)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def copy(self, fd: int, size: int) -> None:
        """Write the next *size* bytes to *fd* where it stands; raises DataLoss, OSError."""
        while size:
            if self._at == len(self._chunk) and not self._more():
                raise DataLoss("layer ends in the middle of a file")
            end = min(len(self._chunk), self._at + size)
            if self._at == 0 and end == len(self._chunk):
                written = os.write(fd, self._chunk)
            else:
                written = os.write(fd, memoryview(self._chunk)[self._at : end])
            self._at += written
            size -= written

    def skip(self, size: int) -> None:
        """Pass over *size* bytes; raises DataLoss when there are fewer."""
        while size:
            if self._at == len(self._chunk) and not self._more():
                raise DataLoss("layer ends in the middle of a file")
            step = min(size, len(self._chunk) - self._at)
            self._at += step
            size -= step

    def finish(self) -> Summary:
        """Read to the end, for the digest covers what follows the archive, too."""
        while self._more():
            pass
        return Summary(digests.of(self._hasher), self._size)

    def close(self) -> None:
        """Stop reading, and the thread with it."""
        if self._pump:
            self._pump.stop()


class _Pump:
    """Runs an iterator in a thread, a few chunks ahead of who reads them."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._queue: queue.Queue[bytes | BaseException] = queue.Queue(_AHEAD)
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="layer-reader", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for chunk in self._chunks:
                self._queue.put(chunk)
                if self._stopped:
                    return
        except BaseException as error:  # handed to the reader, whatever it is
            self._queue.put(error)
            return
        self._queue.put(b"")

    def __iter__(self) -> Iterator[bytes]:
        while True:
            item = self._queue.get()
            if isinstance(item, Error):
                raise item
            if isinstance(item, BaseException):
                raise DataLoss(f"layer cannot be read: {item}") from item
            if not item:
                return
            yield item

    def stop(self) -> None:
        """Let the thread end, without reading the rest."""
        self._stopped = True
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.05)
            except queue.Empty:
                continue
