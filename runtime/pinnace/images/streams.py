"""Blobs as streams: verified, repacked and counted while they are read.

Each wraps another stream and is closed with it, so that a chain of them costs one chunk of memory
per link, whatever the blob's size.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from pinnace.errors import DataLoss
from pinnace.images.compression import decompress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pinnace.images.transports.base import Stream
    from pinnace.spec.digest import Digest

GZIP, ZSTD = "gzip", "zstd"
MAX_LAYER_BYTES = 1 << 38
_CHUNK_BYTES = 1 << 18
_GZIP_LEVEL = 6
_ZSTD_LEVEL = 3


class Pulled:
    """A stream over an iterator of chunks; closing closes the iterator and the source below."""

    def __init__(self, chunks: Iterator[bytes], source: Stream) -> None:
        self._chunks = chunks
        self._source = source
        self._rest = memoryview(b"")

    def read(self, size: int = -1, /) -> bytes:
        """Up to *size* bytes; nothing only at the end."""
        if size < 0:
            return b"".join([bytes(self._rest), *self._chunks])
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._rest = memoryview(chunk)
        data, self._rest = self._rest[:size], self._rest[size:]
        return bytes(data)

    def close(self) -> None:
        """Stop, without reading the rest."""
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()
        self._source.close()


def verified(source: Stream, digest: Digest, size: int, what: str) -> Pulled:
    """*source*, checked: DataLoss at its end, or before, unless it is what *digest* names.

    A negative *size* is one that is not known. *what* names where the bytes come from.
    """
    return Pulled(_verify(source, digest, size, what), source)


def _verify(source: Stream, digest: Digest, size: int, what: str) -> Iterator[bytes]:
    hasher = digest.hasher()
    count = 0
    # The last chunk is held back until all are known to be right: nobody sees an end before.
    held = b""
    while data := source.read(_CHUNK_BYTES):
        hasher.update(data)
        count += len(data)
        if 0 <= size < count:
            raise DataLoss(f"{what}: {digest} is longer than the {size} bytes it should have")
        if held:
            yield held
        held = data
    if 0 <= size != count:
        raise DataLoss(f"{what}: {digest} ends after {count} of {size} bytes")
    if hasher.hexdigest() != digest.hex:
        raise DataLoss(f"{what}: {digest} is damaged: its bytes have another digest")
    if held:
        yield held


def counted(source: Stream, report: Callable[[int], None]) -> Pulled:
    """*source*, with *report* told how many bytes have passed so far."""

    def chunks() -> Iterator[bytes]:
        count = 0
        while data := source.read(_CHUNK_BYTES):
            count += len(data)
            report(count)
            yield data

    return Pulled(chunks(), source)


def unpacked(source: Stream, diff_id: Digest | None = None) -> Pulled:
    """The uncompressed bytes of a layer, checked against *diff_id* where the config has it."""
    plain = Pulled(decompress(source, MAX_LAYER_BYTES), source)
    if diff_id is None:
        return plain
    return verified(plain, diff_id, -1, "uncompressed layer")


def packed(source: Stream, algorithm: str, level: int | None = None) -> Pulled:
    """*source* compressed with gzip or zstd; the same bytes each time."""
    if algorithm == ZSTD:
        return Pulled(_zstd(source, _ZSTD_LEVEL if level is None else level), source)
    return Pulled(_gzip(source, _GZIP_LEVEL if level is None else level), source)


def _gzip(source: Stream, level: int) -> Iterator[bytes]:
    # wbits 31: a gzip header without name or time (zlib.h, deflateInit2), thus reproducible.
    packer = zlib.compressobj(level, wbits=31)
    while data := source.read(_CHUNK_BYTES):
        if chunk := packer.compress(data):
            yield chunk
    yield packer.flush()


def _zstd(source: Stream, level: int) -> Iterator[bytes]:
    from pinnace.linux.zstd import Compressor  # ctypes, and a library that few need

    packer = Compressor(level)
    try:
        while data := source.read(_CHUNK_BYTES):
            yield from packer.feed(data)
        yield from packer.finish()
    finally:
        packer.close()
