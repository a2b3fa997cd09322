"""Blobs on disk: content under its digest, and ingests on their way to it.

The layout is containerd's: ``blobs/<algorithm>/<hex>`` and ``ingest/<sha256 of the
ref>/{ref,data,startedat,total}``; beside it ``damaged/`` has copies that turned out wrong, until
they were written anew or nothing refers to them. Promise: a file under ``blobs`` was written whole, hashed while
written and flushed (data, then its name) before anything referred to it.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from pinnace.errors import DataLoss, FailedPrecondition, InvalidArgument, NotFound, Unavailable
from pinnace.spec import digest as digests
from pinnace.spec.digest import Digest, sha256
from pinnace.store import disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK_BYTES = 1 << 20
_MAX_REF = 4096


class Status(NamedTuple):
    """An ingest: bytes so far and in total (0 when unknown); times in ns since the epoch."""

    ref: str
    offset: int
    total: int
    started_at: int
    updated_at: int
    expected: str = ""


class BlobStore:
    """The files of all namespaces; which namespace has which is the content store's to know."""

    def __init__(self, root: str | Path) -> None:
        self.root = os.fspath(root)
        self._busy: dict[str, float] = {}
        self._busy_lock = threading.Lock()
        with disk.errors(f"create content store {self.root}"):
            for name in ("blobs/sha256", "blobs/sha512", "ingest", "damaged"):
                os.makedirs(os.path.join(self.root, name), mode=0o700, exist_ok=True)
            disk.sync_directory(os.path.join(self.root, "blobs"))

    def path(self, digest: Digest) -> str:
        """Where the blob is or would be."""
        return os.path.join(self.root, "blobs", digest.algorithm, digest.hex)

    def size(self, digest: Digest) -> int | None:
        """Size on disk in bytes, None when there is no such blob."""
        try:
            return os.stat(self.path(digest)).st_size
        except FileNotFoundError:
            return None

    def verify(self, digest: Digest) -> bool:
        """Whether the blob's bytes are there and what its digest names (reads all of it).

        Raises what keeps it from being read for other reasons than that the disk lost it.
        """
        hasher = digest.hasher()
        try:
            with open(self.path(digest), "rb", buffering=0) as file:
                while chunk := file.read(CHUNK_BYTES):
                    hasher.update(chunk)
        except OSError as error:
            if error.errno in disk.LOST or error.errno == errno.ENOENT:
                return False
            raise disk.translate(error, f"read content {digest}") from error
        return hasher.hexdigest() == digest.hex

    def remove(self, digest: Digest) -> bool:
        """Unlink the blob; False when there was none."""
        try:
            os.unlink(self.path(digest))
        except FileNotFoundError:
            return False
        return True

    def quarantine(self, digest: Digest) -> bool:
        """Put a copy that is damaged where nobody takes it for the blob; False when there is none."""
        with disk.errors(f"put the damaged {digest} aside"):
            try:
                os.rename(self.path(digest), self._damaged_path(digest))
            except FileNotFoundError:
                return False
        return True

    def damaged(self) -> list[Digest]:
        """What is in quarantine."""
        names = [name.replace("-", ":") for name in os.listdir(os.path.join(self.root, "damaged"))]
        return [Digest.parse(name) for name in sorted(names)]

    def drop_damaged(self, digest: Digest) -> None:
        """Remove the copy in quarantine, if there is one."""
        with suppress(FileNotFoundError):
            os.unlink(self._damaged_path(digest))

    def _damaged_path(self, digest: Digest) -> str:
        return os.path.join(self.root, "damaged", f"{digest.algorithm}-{digest.hex}")

    def walk(self) -> Iterator[Digest]:
        """Digests of the blobs on disk; foreign files are passed over."""
        base = os.path.join(self.root, "blobs")
        for algorithm in ("sha256", "sha512"):
            try:
                names = sorted(os.listdir(os.path.join(base, algorithm)))
            except FileNotFoundError:
                continue
            for name in names:
                try:
                    yield Digest.parse(f"{algorithm}:{name}")
                except InvalidArgument:
                    continue

    def ingest(self, ref: str, *, total: int = 0, algorithm: str = "sha256") -> Ingest:
        """Begin or resume the ingest *ref*; raises Unavailable while somebody else writes it."""
        if not ref or len(ref) > _MAX_REF:
            raise InvalidArgument("ref must not be empty" if not ref else "ref is too long")
        with self._busy_lock:
            if ref in self._busy:
                held = time.monotonic() - self._busy[ref]
                raise Unavailable(f"ref {ref} locked for {held:.0f}s: unavailable")
            self._busy[ref] = time.monotonic()
        try:
            with disk.errors(f"ingest {ref}"):
                return Ingest(self, ref, total, algorithm)
        except BaseException:
            self.release(ref)
            raise

    def release(self, ref: str) -> None:
        """Let others write *ref* again."""
        with self._busy_lock:
            self._busy.pop(ref, None)

    def busy(self, ref: str) -> bool:
        """Whether a writer holds *ref*."""
        with self._busy_lock:
            return ref in self._busy

    def ingest_path(self, ref: str) -> str:
        """The directory of an ingest."""
        return os.path.join(self.root, "ingest", sha256(ref.encode()).hex)

    def status(self, ref: str) -> Status:
        """How far an ingest is; raises NotFound."""
        path = self.ingest_path(ref)
        try:
            data = os.stat(os.path.join(path, "data"))
        except FileNotFoundError:
            raise NotFound(f"reference {ref}: not found") from None
        started = _read_number(os.path.join(path, "startedat")) or data.st_mtime_ns
        total = _read_number(os.path.join(path, "total"))
        return Status(ref, data.st_size, total, started, data.st_mtime_ns)

    def abort(self, ref: str) -> None:
        """Give up an ingest and its bytes; raises NotFound, Unavailable while it is written."""
        if self.busy(ref):
            raise Unavailable(f"ref {ref} is being written: unavailable")
        path = self.ingest_path(ref)
        if not os.path.isdir(path):
            raise NotFound(f"reference {ref}: not found")
        disk.remove_tree(path)

    def ingests(self) -> list[str]:
        """The refs on disk."""
        base = os.path.join(self.root, "ingest")
        refs = []
        for name in os.listdir(base):
            try:
                with open(os.path.join(base, name, "ref"), encoding="utf-8") as file:
                    refs.append(file.read())
            except (OSError, UnicodeDecodeError):
                continue
        return refs


class Ingest:
    """Bytes being written; :meth:`seal` makes them a blob. Used by one thread at a time."""

    def __init__(self, store: BlobStore, ref: str, total: int, algorithm: str) -> None:
        self.store = store
        self.ref = ref
        self.offset = 0
        self._hasher = digests.hasher_for(algorithm)
        self._algorithm = algorithm
        self._path = store.ingest_path(ref)
        resumed = os.path.exists(os.path.join(self._path, "data"))
        if not resumed:
            self._begin(total)
        self.total = _read_number(os.path.join(self._path, "total"))
        self.started_at = _read_number(os.path.join(self._path, "startedat")) or time.time_ns()
        self._fd = os.open(
            os.path.join(self._path, "data"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        if resumed:
            self._catch_up()

    def _begin(self, total: int) -> None:
        os.makedirs(self._path, mode=0o700, exist_ok=True)
        for name, text in (("ref", self.ref), ("startedat", str(time.time_ns()))):
            _write_text(os.path.join(self._path, name), text)
        if total > 0:
            _write_text(os.path.join(self._path, "total"), str(total))

    def _catch_up(self) -> None:
        """Hash what an earlier writer left, to go on behind it; what the disk lost is written anew."""
        try:
            while chunk := os.read(self._fd, CHUNK_BYTES):
                self._hasher.update(chunk)
                self.offset += len(chunk)
        except OSError as error:
            if error.errno not in disk.LOST:
                raise
            self._start_over()

    def _start_over(self) -> None:
        """Another file: one that is only emptied may get the same blocks of the disk again."""
        data = os.path.join(self._path, "data")
        os.rename(data, f"{data}.lost")  # kept until the ingest ends, and its blocks with it
        os.close(self._fd)
        self._fd = os.open(data, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._hasher = digests.hasher_for(self._algorithm)
        self.offset = 0

    @property
    def digest(self) -> Digest:
        """The digest of what was written so far."""
        return digests.of(self._hasher, self._algorithm)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append; raises ResourceExhausted when the disk is full."""
        with disk.errors(f"write ingest {self.ref}"):
            view = memoryview(data)
            while view:
                written = os.write(self._fd, view)
                self._hasher.update(view[:written])
                self.offset += written
                view = view[written:]
        return len(data)

    def truncate(self, size: int = 0) -> None:
        """Start again; only 0 is possible, as a hash cannot be unwound."""
        if size != 0:
            raise InvalidArgument("an ingest can only be truncated to 0 bytes")
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._hasher = digests.hasher_for(self._algorithm)
        self.offset = 0

    def sync(self, size: int, expected: str) -> Digest:
        """Check what was written and flush it; call :meth:`seal` next.

        Raises FailedPrecondition for a wrong size and DataLoss for a wrong digest; the bytes of a
        wrong digest are thrown away, as resuming behind them could never succeed.
        """
        if size and size != self.offset:
            raise FailedPrecondition(f"unexpected commit size {self.offset}, expected {size}")
        digest = self.digest
        if expected and digest != expected:
            self.truncate()
            raise DataLoss(f"unexpected commit digest {digest}, expected {expected}")
        with disk.errors(f"flush {digest}"):
            os.fchmod(self._fd, 0o444)
            os.fsync(self._fd)
        return digest

    def seal(self, digest: Digest) -> None:
        """Give the flushed bytes their name, durably, and end the ingest."""
        target = self.store.path(digest)
        folder = os.path.dirname(target)
        with disk.errors(f"commit {digest}"):
            os.rename(os.path.join(self._path, "data"), target)
            disk.sync_directory(folder)
        self.store.drop_damaged(digest)
        self.close()
        disk.remove_tree(self._path)

    def close(self) -> None:
        """Stop writing; what was written stays and can be resumed."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self.store.release(self.ref)

    def discard(self) -> None:
        """Stop writing and give the space back."""
        self.close()
        disk.remove_tree(self._path)


def _write_text(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _read_number(path: str) -> int:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read(32))
    except (OSError, ValueError):
        return 0
