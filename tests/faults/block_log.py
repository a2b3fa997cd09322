"""A disk that remembers in which order it was written: a loop device over a file that FUSE serves.

Every write of the file system above reaches this program as one request, and every flush of the disk's
cache as an fsync. From the log the disk can be made as a power cut would have left it at any moment:
what was flushed is there; of what came later, any part, in any order, even a part of a write.

Only what is needed of FUSE is spoken (linux/fuse.h, protocol 7.31): the root of the mount is the file.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import stat
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from pinnace.linux import mount

_PAGE = 4096
"""What a card writes wholly or not at all; ext4 relies on that for its superblock."""
_MAX_WRITE = 1 << 20
_IN_HEADER = struct.Struct("<IIQQIIII")
_OUT_HEADER = struct.Struct("<IiQ")
_RECORD = struct.Struct("<QI")
_FLUSH = (1 << 64) - 1

_GETATTR, _SETATTR, _OPEN, _READ, _WRITE, _STATFS, _RELEASE, _FSYNC = 3, 4, 14, 15, 16, 17, 18, 20
_FLUSH_FILE, _INIT, _DESTROY, _FORGET, _BATCH_FORGET, _INTERRUPT = 25, 26, 38, 2, 42, 36
_ASYNC_READ, _BIG_WRITES, _MAX_PAGES = 1 << 0, 1 << 5, 1 << 22


class Write(NamedTuple):
    """Bytes written at an offset; a flush has neither."""

    offset: int
    data: bytes

    @property
    def is_flush(self) -> bool:
        return self.offset < 0


class BlockLog:
    """The writes so far, in a file; its length is a moment in the disk's life."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def now(self) -> int:
        """This moment: every request that was answered before is below it."""
        return self.path.stat().st_size

    def read(self) -> list[tuple[int, Write]]:
        """Every write and flush with the moment at which it was complete."""
        data = self.path.read_bytes()
        found, at = [], 0
        while at < len(data):
            offset, size = _RECORD.unpack_from(data, at)
            at += _RECORD.size
            if offset == _FLUSH:
                found.append((at, Write(-1, b"")))
            else:
                found.append((at + size, Write(offset, data[at : at + size])))
            at += size
        return found


@contextmanager
def recorded(
    image: Path, log: Path, broken: Path | None = None, unreadable: Path | None = None
) -> Iterator[tuple[str, BlockLog]]:
    """A block device whose content is ``image`` and whose writes are logged: its name, and the log.

    While there is a file ``broken`` nothing can be written to the device; reads fail that touch what the lines
    of the file ``unreadable`` say, if there is one (offset and length in bytes).
    """
    log.write_bytes(b"")
    point = image.with_suffix(".recorded")
    point.write_bytes(b"")
    fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={fuse},rootmode={stat.S_IFREG | 0o600:o},user_id=0,group_id=0"
    mount.mount("pinnace-block-log", str(point), "fuse", 0, options)
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            # The log is complete only if a test's Ctrl-C does not end this process first.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            _Server(fuse, image, log, broken, unreadable).serve()
        os._exit(0)
    os.close(fuse)
    device = ""
    try:
        device = _losetup("--find", "--show", str(point))
        yield device, BlockLog(log)
    finally:
        if device:
            _losetup("--detach", device)
        mount.unmount(str(point))
        os.waitpid(child, 0)


@contextmanager
def mounted(image: Path, target: Path) -> Iterator[Path]:
    """The ext4 file system in the file ``image``, recovered and mounted as after a power cut."""
    device = _losetup("--find", "--show", str(image))
    try:
        with file_system(device, target) as found:
            yield found
    finally:
        _losetup("--detach", device)


@contextmanager
def file_system(device: str, target: Path) -> Iterator[Path]:
    target.mkdir(exist_ok=True)
    mount.mount(device, str(target), "ext4", 0, "")
    try:
        yield target
    finally:
        # Not detached: the disk below is only complete when the file system has let go of it.
        mount.unmount(str(target))


def make_ext4(image: Path, size: int) -> None:
    """An empty ext4 of ``size`` bytes, with nothing left to be initialised later."""
    with image.open("wb") as file:
        file.truncate(size)
    command = [
        "mkfs.ext4",
        "-q",
        "-F",
        "-b",
        str(_PAGE),
        "-E",
        "lazy_itable_init=0,lazy_journal_init=0",
        str(image),
    ]
    subprocess.run(command, check=True)


class PowerCuts:
    """The disk after power cuts at ever later moments; made in one pass over the log."""

    def __init__(self, image: Path, writes: list[tuple[int, Write]], chance: random.Random) -> None:
        self._disk = bytearray(image.read_bytes())
        self._writes = iter(writes)
        self._next = next(self._writes, None)
        self._unsynced: list[Write] = []
        self._chance = chance

    def cut(self, moment: int, target: Path) -> None:
        """Write to ``target`` what a cut at ``moment`` leaves; moments only grow from call to call."""
        while self._next is not None and self._next[0] <= moment:
            self._take(self._next[1])
            self._next = next(self._writes, None)
        left = bytearray(self._disk)
        for write in self._survivors():
            left[write.offset : write.offset + len(write.data)] = write.data
        _write_sparse(target, left)

    def _take(self, write: Write) -> None:
        if not write.is_flush:
            self._unsynced.append(write)
            return
        for done in self._unsynced:
            self._disk[done.offset : done.offset + len(done.data)] = done.data
        self._unsynced.clear()

    def _survivors(self) -> list[Write]:
        """Some of the writes that nothing flushed, out of order, the last perhaps torn."""
        share = self._chance.choice((0.0, 0.3, 0.7, 1.0))
        kept = [write for write in self._unsynced if self._chance.random() < share]
        # Of two writes to one place either may be the one that got through.
        self._chance.shuffle(kept)
        if kept and self._chance.random() < 0.3:
            torn = kept[-1]
            pages = self._chance.randrange(0, len(torn.data) // _PAGE + 1)
            kept[-1] = Write(torn.offset, torn.data[: pages * _PAGE])
        return kept


class _Server:
    """Answers FUSE's requests for the one file, one after the other."""

    def __init__(
        self, fuse: int, image: Path, log: Path, broken: Path | None, unreadable: Path | None
    ) -> None:
        self._fuse = fuse
        self._broken = broken
        self._unreadable = unreadable
        self._image = os.open(image, os.O_RDWR)
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND)
        self._size = os.fstat(self._image).st_size

    def serve(self) -> None:
        while True:
            try:
                request = os.read(self._fuse, _MAX_WRITE + 4096)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT):
                    continue
                return  # ENODEV: unmounted
            _, opcode, unique, *_ = _IN_HEADER.unpack_from(request)
            if opcode in (_FORGET, _BATCH_FORGET, _INTERRUPT):
                continue
            try:
                self._reply(unique, self._answer(opcode, request[_IN_HEADER.size :]))
            except OSError as error:
                self._reply(unique, b"", -(error.errno or errno.EIO))

    def _reply(self, unique: int, body: bytes, error: int = 0) -> None:
        with suppress(FileNotFoundError):  # the request was interrupted
            os.write(
                self._fuse, _OUT_HEADER.pack(_OUT_HEADER.size + len(body), error, unique) + body
            )

    def _answer(self, opcode: int, body: bytes) -> bytes:
        failing = opcode in (_WRITE, _FSYNC) and self._broken is not None and self._broken.exists()
        if failing:
            raise OSError(errno.EIO, "broken")
        if opcode == _INIT:
            return self._init(body)
        if opcode in (_GETATTR, _SETATTR):
            return struct.pack("<QII", 3600, 0, 0) + self._attributes()
        if opcode == _OPEN:
            return struct.pack("<QII", 0, 0, 0)
        if opcode == _READ:
            return self._read(body)
        if opcode == _WRITE:
            return self._write(body)
        if opcode == _FSYNC:
            os.write(self._log, _RECORD.pack(_FLUSH, 0))
            return b""
        if opcode in (_RELEASE, _FLUSH_FILE, _DESTROY):
            return b""
        if opcode == _STATFS:
            return struct.pack("<5Q4I24x", 1 << 20, 1 << 20, 1 << 20, 1, 1, 4096, 255, 4096, 0)
        raise OSError(errno.ENOSYS, "not spoken")

    def _init(self, body: bytes) -> bytes:
        _, minor, readahead, offered = struct.unpack_from("<IIII", body)
        flags = offered & (_ASYNC_READ | _BIG_WRITES | _MAX_PAGES)
        pages = _MAX_WRITE // 4096
        return struct.pack(
            "<IIIIHHIIHHI28x", 7, min(minor, 31), readahead, flags, 12, 9, _MAX_WRITE, 1, pages, 0, 0
        )  # fmt: skip

    def _attributes(self) -> bytes:
        mode = stat.S_IFREG | 0o600
        return struct.pack("<6Q10I", 1, self._size, self._size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)  # fmt: skip

    def _read(self, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", body)
        with suppress(FileNotFoundError):
            lines = self._unreadable.read_text().splitlines() if self._unreadable else []
            for start, length in (map(int, line.split()) for line in lines):
                if start < offset + size and offset < start + length:
                    raise OSError(errno.EIO, "unreadable")
        return os.pread(self._image, size, offset)

    def _write(self, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", body)
        data = body[40 : 40 + size]
        os.pwrite(self._image, data, offset)
        os.write(self._log, _RECORD.pack(offset, size) + data)
        return struct.pack("<II", size, 0)


def _losetup(*words: str) -> str:
    done = subprocess.run(["losetup", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _write_sparse(target: Path, data: bytearray) -> None:
    block, empty = 1 << 16, bytes(1 << 16)
    with target.open("wb") as file:
        file.truncate(len(data))
        view = memoryview(data)
        for at in range(0, len(data), block):
            if view[at : at + block] != empty:
                file.seek(at)
                file.write(view[at : at + block])
