"""A board's disk with a volatile write cache: what was written and not flushed is lost with the power.

QEMU hands a guest's writes to the kernel at once, where they outlive QEMU. So the writable layer of a
board's disk is served to QEMU from here, over the NBD protocol (the nbd project's doc/proto.md): writes
stay in memory until the guest flushes, then go to the file. A client that leaves without a goodbye was
killed, which is how a power cut is made, and takes the unflushed writes with it.

The cache is finite, as a real one is: when it is full everything in it is written, which a disk may do
at any time.
"""

from __future__ import annotations

import os
import random
import socket
import struct
from pathlib import Path

BLOCK = 4096
"""Bytes of a cache block, which a power cut keeps or loses as a whole."""

CACHE_BLOCKS = 64 * 1024

_OLD_MAGIC, _OPTION_MAGIC, _REPLY_MAGIC = 0x4E42444D41474943, 0x49484156454F5054, 0x3E889045565A9
_REQUEST_MAGIC, _SIMPLE_MAGIC = 0x25609513, 0x67446698
_FIXED_NEWSTYLE, _NO_ZEROES = 1, 2
_HAS_FLAGS, _SEND_FLUSH, _SEND_FUA = 1, 4, 8
_EXPORT_NAME, _ABORT, _INFO, _GO = 1, 2, 6, 7
_ACK, _INFO_REPLY, _UNSUPPORTED = 1, 3, 0x80000001
_READ, _WRITE, _DISCONNECT, _FLUSH = 0, 1, 2, 3
_FUA = 1
_EIO, _EINVAL = 5, 22
_LARGEST = 64 << 20


class WriteCache:
    """A file behind a volatile write cache. Offsets and lengths are in bytes."""

    def __init__(self, path: Path, blocks: int = CACHE_BLOCKS) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._limit = blocks
        self._dirty: dict[int, bytearray] = {}
        self.size = os.fstat(self._file).st_size

    def read(self, offset: int, length: int) -> bytes:
        data = os.pread(self._file, length, offset)
        data += bytes(length - len(data))
        first, last = offset // BLOCK, (offset + length - 1) // BLOCK
        touched = [index for index in range(first, last + 1) if index in self._dirty]
        if not touched:
            return data
        whole = bytearray(data)
        for index in touched:
            begin = max(offset, index * BLOCK)
            end = min(offset + length, (index + 1) * BLOCK)
            part = self._dirty[index][begin - index * BLOCK : end - index * BLOCK]
            whole[begin - offset : end - offset] = part
        return bytes(whole)

    def write(self, offset: int, data: bytes) -> None:
        position = 0
        while position < len(data):
            index, inside = divmod(offset + position, BLOCK)
            count = min(BLOCK - inside, len(data) - position)
            if index not in self._dirty:
                old = b"" if count == BLOCK else os.pread(self._file, BLOCK, index * BLOCK)
                self._dirty[index] = bytearray(old.ljust(BLOCK, b"\0"))
            self._dirty[index][inside : inside + count] = data[position : position + count]
            position += count
        if len(self._dirty) > self._limit:
            self.flush()

    def flush(self) -> None:
        """Make everything that was written so far stay."""
        for index, block in self._dirty.items():
            os.pwrite(self._file, block, index * BLOCK)
        self._dirty.clear()

    def lose(self, kept: float = 0.0, seed: int = 0) -> int:
        """The power is cut: forget the unflushed writes; returns how many blocks were lost.

        A share ``kept`` of the blocks, chosen by ``seed``, was written just in time, in any order.
        """
        chance = random.Random(seed)  # noqa: S311  to be repeatable
        saved = {index: block for index, block in self._dirty.items() if chance.random() < kept}
        lost = len(self._dirty) - len(saved)
        self._dirty = saved
        self.flush()
        return lost

    def close(self) -> None:
        os.close(self._file)


class ClientGone(Exception):
    """The client's end of the connection is closed, and it did not say goodbye."""


def serve(connection: socket.socket, cache: WriteCache) -> bool:
    """Serve one client until it leaves; whether it said goodbye. What it wrote is flushed only then."""
    try:
        if not _negotiate(connection, cache.size):
            return True
        while _answer(connection, cache):
            pass
    except (ClientGone, OSError):
        return False
    cache.flush()
    return True


def _negotiate(connection: socket.socket, size: int) -> bool:
    """The fixed newstyle handshake; whether the client went on to use the one export there is."""
    hello = struct.pack(">QQH", _OLD_MAGIC, _OPTION_MAGIC, _FIXED_NEWSTYLE | _NO_ZEROES)
    connection.sendall(hello)
    (flags,) = struct.unpack(">I", _receive(connection, 4))
    export = struct.pack(">QH", size, _HAS_FLAGS | _SEND_FLUSH | _SEND_FUA)
    while True:
        _, option, length = struct.unpack(">QII", _receive(connection, 16))
        _receive(connection, length)
        if option == _EXPORT_NAME:
            connection.sendall(export + (b"" if flags & _NO_ZEROES else bytes(124)))
            return True
        if option in (_INFO, _GO):
            _reply(connection, option, _INFO_REPLY, struct.pack(">H", 0) + export)
            _reply(connection, option, _ACK)
            if option == _GO:
                return True
        elif option == _ABORT:
            _reply(connection, option, _ACK)
            return False
        else:
            _reply(connection, option, _UNSUPPORTED)


def _reply(connection: socket.socket, option: int, kind: int, data: bytes = b"") -> None:
    connection.sendall(struct.pack(">QIII", _REPLY_MAGIC, option, kind, len(data)) + data)


def _answer(connection: socket.socket, cache: WriteCache) -> bool:
    """Carry out one request; false when it was the goodbye."""
    header = _receive(connection, 28)
    magic, flags, kind, handle, offset, length = struct.unpack(">IHHQQI", header)
    if magic != _REQUEST_MAGIC or length > _LARGEST:
        raise ClientGone
    if kind == _DISCONNECT:
        return False
    written = _receive(connection, length) if kind == _WRITE else b""
    error, data = 0, b""
    try:
        if kind in (_READ, _WRITE) and offset + length > cache.size:
            error = _EINVAL
        elif kind == _READ:
            data = cache.read(offset, length)
        elif kind == _WRITE:
            cache.write(offset, written)
            if flags & _FUA:
                cache.flush()
        elif kind == _FLUSH:
            cache.flush()
        else:
            error = _EINVAL
    except OSError:
        error = _EIO
    connection.sendall(struct.pack(">IIQ", _SIMPLE_MAGIC, error, handle) + data)
    return True


def _receive(connection: socket.socket, length: int) -> bytes:
    parts, missing = [], length
    while missing:
        part = connection.recv(min(missing, 1 << 20))
        if not part:
            raise ClientGone
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
