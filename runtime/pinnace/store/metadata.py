"""The metadata database: one SQLite file, namespaced, durable, shared by all threads.

Promise: what a finished durable transaction wrote is there after a power cut, and after any cut
the file holds the state behind some finished transaction. That is WAL mode with
``synchronous=FULL`` (https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html).

Threads: one writer at a time, readers never wait for it and see the last finished transaction; a
thread inside its own transaction reads what it wrote. Times are nanoseconds since the epoch.
"""

from __future__ import annotations

import _sqlite3 as sqlite3  # what the package is made of: its converters of dates cost 0.5 MB
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pinnace.errors import DataLoss, Error, FailedPrecondition, ResourceExhausted, Unavailable
from pinnace.store import disk
from pinnace.store.schema import MIGRATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BUSY_SECONDS = 30.0
_MAX_IDLE_READERS = 4


class Database:
    """The open database; ``with db.transaction() as tx`` writes, ``with db.read() as tx`` reads."""

    def __init__(self, path: str | Path) -> None:
        """Open or create the file at *path*, check it, and bring its schema up to date.

        Raises DataLoss when the file is damaged, FailedPrecondition when it is of a newer version.
        """
        self.path = os.fspath(path)
        # When garbage was collected last, in ns since the epoch: see the collector.
        self.collected_at = 0
        self._lock = threading.RLock()
        self._owner: int | None = None
        self._readers: list[sqlite3.Connection] = []
        self._readers_lock = threading.Lock()
        self._closed = False
        with _translated(self.path):
            self._make_private()
            self._writer = self._connect()
            try:
                self._check()
                self._migrate()
            except BaseException:
                self._writer.close()
                raise

    def _make_private(self) -> None:
        """For its owner only: containers' environments hold secrets. SQLite's other files follow."""
        with disk.errors(f"open {self.path}"):
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.fchmod(fd, 0o600)
            finally:
                os.close(fd)

    def _connect(self) -> sqlite3.Connection:
        # unix-excl (sqlite.org/vfs.html): the log's index is in this process's memory, not in a
        # mapped file, whose pages a full btrfs cannot give: that would end the daemon by SIGBUS.
        connection = sqlite3.connect(
            f"file:{_quoted(self.path)}?vfs=unix-excl",
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            uri=True,
        )
        connection.row_factory = sqlite3.Row
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("PRAGMA cache_size=-512")  # KiB: this database is small, boards too
        return connection

    def _check(self) -> None:
        problems = [str(row[0]) for row in self._writer.execute("PRAGMA quick_check(4)")]
        if problems != ["ok"]:
            raise DataLoss(
                f"metadata database {self.path} is damaged: {'; '.join(problems)[:300]}",
                hint="move the file away to start anew; content and snapshots stay on disk",
            )

    def _migrate(self) -> None:
        version = self._writer.execute("PRAGMA user_version").fetchone()[0]
        if version > len(MIGRATIONS):
            raise FailedPrecondition(
                f"metadata database {self.path} has version {version}; "
                f"this program knows {len(MIGRATIONS)}",
                hint="run the newer program again, or restore the database it came from",
            )
        if version == len(MIGRATIONS):
            return
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            for statements in MIGRATIONS[version:]:
                for statement in statements:
                    self._writer.execute(statement)
            self._writer.execute(f"PRAGMA user_version={len(MIGRATIONS)}")
        except BaseException:
            self._writer.execute("ROLLBACK")
            raise
        self._writer.execute("COMMIT")

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """A write transaction: all of it happens or nothing.

        An inner transaction joins the outer, whose durability it gets.

        With ``durable=False`` the commit is not flushed by itself: a power cut may lose it (and
        whatever is not yet flushed after it), but never tears it. Use it for what is worthless
        after a restart, to spare the card.
        """
        with self._lock:
            if self._closed:
                raise Unavailable(f"metadata database {self.path} is closed")
            if self._owner is not None:
                yield self._writer
                return
            with _translated(self.path):
                if not durable:
                    self._writer.execute("PRAGMA synchronous=NORMAL")
                try:
                    yield from self._outermost()
                finally:
                    if not durable:
                        self._writer.execute("PRAGMA synchronous=FULL")

    def _outermost(self) -> Iterator[sqlite3.Connection]:
        self._writer.execute("BEGIN IMMEDIATE")
        self._owner = threading.get_ident()
        try:
            yield self._writer
            self._writer.execute("COMMIT")
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise
        finally:
            self._owner = None

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection to read with; inside this thread's own transaction, that one."""
        if self._owner == threading.get_ident():
            yield self._writer
            return
        with _translated(self.path):
            connection = self._take_reader()
            try:
                yield connection
            finally:
                self._give_reader(connection)

    def _take_reader(self) -> sqlite3.Connection:
        with self._readers_lock:
            if self._closed:
                raise Unavailable(f"metadata database {self.path} is closed")
            if self._readers:
                return self._readers.pop()
        return self._connect()

    def _give_reader(self, connection: sqlite3.Connection) -> None:
        with self._readers_lock:
            if not self._closed and len(self._readers) < _MAX_IDLE_READERS:
                self._readers.append(connection)
                return
        connection.close()

    def rest(self) -> None:
        """Give back what is not needed while nobody asks: readers, and the writer's cache."""
        with self._readers_lock:
            readers, self._readers = self._readers, []
        for reader in readers:
            reader.close()
        if self._lock.acquire(blocking=False):
            try:
                if not self._closed and self._owner is None:
                    self._writer.execute("PRAGMA shrink_memory")
            finally:
                self._lock.release()

    def close(self) -> None:
        """Finish; the last connection that closes folds the write-ahead log into the file."""
        with self._lock, self._readers_lock:
            self._closed = True
            for reader in self._readers:
                reader.close()
            self._readers.clear()
            self._writer.close()


def _quoted(path: str) -> str:
    """A path as part of a URI of SQLite's (sqlite.org/uri.html); urllib would cost 0.4 MB."""
    for character in "%?#":
        path = path.replace(character, f"%{ord(character):02x}")
    return path


@contextmanager
def _translated(path: str) -> Iterator[None]:
    """Say in the runtime's errors what SQLite says."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise _operational(path, error) from error
    except sqlite3.DatabaseError as error:
        raise DataLoss(
            f"metadata database {path} is damaged: {error}",
            hint="move the file away to start anew; content and snapshots stay on disk",
        ) from error


def _operational(path: str, error: sqlite3.OperationalError) -> Error:
    text = str(error)
    if "full" in text:
        return ResourceExhausted(
            f"no space left for the metadata database {path}",
            hint="remove images that are not needed (ctr image rm), or enlarge the disk",
        )
    if "readonly" in text or "unable to open" in text:
        return FailedPrecondition(
            f"metadata database {path} cannot be written: {text}", hint=disk.READ_ONLY_HINT
        )
    if "locked" in text:
        return Unavailable(
            f"metadata database {path} is locked", hint="is another daemon using the same root?"
        )
    if "I/O error" in text:
        return DataLoss(f"metadata database {path}: {text}", hint=disk.FAILING_HINT)
    return Error(f"metadata database {path}: {text}")
