"""Content: which namespace has which blob, with its labels, over the shared blob store.

Promise: a record names bytes that were flushed before it was written, and what is read is checked
against it: a blob that is missing or has another size than recorded (a zero-byte file after a
power cut, containerd#5854) is DataLoss on reading, and writing it again heals it. Bytes that have
another digest, or that the disk cannot read, are put aside when whoever read them noticed.

Sharing between namespaces is containerd's "shared" policy: a blob that another namespace has is
adopted without being fetched again.
"""

from __future__ import annotations

import io
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from pinnace.errors import AlreadyExists, DataLoss, Error, FailedPrecondition, NotFound
from pinnace.spec.digest import Digest
from pinnace.store import disk, filters, records
from pinnace.store.blobs import BlobStore, Ingest, Status
from pinnace.store.leases import add_to_lease

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pinnace.store.metadata import Database

_INGEST_SECONDS = 24 * 3600
_DAMAGED_HINT = "pull the image again; the damaged copy is replaced"


class Info(NamedTuple):
    """A blob in a namespace: size in bytes, times in nanoseconds since the epoch."""

    digest: Digest
    size: int
    labels: Mapping[str, str] = {}
    created_at: int = 0
    updated_at: int = 0


class ContentStore:
    """The content of all namespaces; safe to use from many threads."""

    def __init__(self, root: str | Path, db: Database) -> None:
        self.blobs = BlobStore(root)
        self.db = db
        # Held while a blob and its record come or go together, so that the collector never
        # removes a file that a record is just being written for. Taken before the database.
        self.lock = threading.RLock()

    def info(self, namespace: str, digest: str) -> Info:
        """The record; raises NotFound."""
        with self.db.read() as tx:
            found = self._find(tx, namespace, digest)
        if found is None:
            raise NotFound(f"content digest {digest}: not found")
        return found

    def _find(self, tx: sqlite3.Connection, namespace: str, digest: str) -> Info | None:
        row = tx.execute(
            "SELECT * FROM content WHERE namespace=? AND digest=?", (namespace, str(digest))
        ).fetchone()
        return None if row is None else _decode(row)

    def hold(self, namespace: str, digest: str, lease: str) -> bool:
        """Let *lease* keep the blob from the collector; False when there is none."""
        with self.db.transaction(durable=False) as tx:
            if self._find(tx, namespace, digest) is None:
                return False
            add_to_lease(tx, namespace, lease, "content", str(digest))
        return True

    def intact(self, namespace: str, digest: str) -> bool:
        """Whether the namespace has the blob and its file has the recorded size."""
        with self.db.read() as tx:
            found = self._find(tx, namespace, digest)
        return found is not None and self.blobs.size(found.digest) == found.size

    def open(self, namespace: str, digest: str) -> BlobFile:
        """The blob for reading; raises NotFound, and DataLoss when its size is wrong.

        Reading raises DataLoss where the disk fails, and the copy is put aside.
        """
        found = self.info(namespace, digest)
        try:
            with disk.errors(f"open content {digest}"):
                file = BlobFile(self, found.digest)
        except NotFound:
            raise DataLoss(f"content {digest} is missing on disk", hint=_DAMAGED_HINT) from None
        size = os.fstat(file.fileno()).st_size
        if size != found.size:
            file.close()
            raise DataLoss(
                f"content {digest} is damaged: {size} bytes on disk, {found.size} recorded",
                hint=_DAMAGED_HINT,
            )
        return file

    def read(self, namespace: str, digest: str, limit: int) -> bytes:
        """A small blob, whole and verified; raises NotFound, DataLoss when damaged or too big."""
        with self.open(namespace, digest) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise DataLoss(f"content {digest} is larger than {limit} bytes")
        if not Digest.parse(digest).verify(data):
            raise self.damaged(digest)
        return data

    def read_at(self, namespace: str, digest: str, offset: int, size: int) -> bytes:
        """Up to *size* bytes from *offset*; fewer only at the end."""
        with self.open(namespace, digest) as file:
            file.seek(offset)
            return file.read(size)

    def update(
        self,
        namespace: str,
        digest: str,
        labels: Mapping[str, str],
        fieldpaths: Sequence[str] = (),
        *,
        durable: bool = True,
    ) -> Info:
        """Change labels (``labels``, ``labels.<key>``; all if none is named); raises NotFound."""
        with self.db.transaction(durable=durable) as tx:
            old = self.info(namespace, digest)
            new = records.update_labels(old.labels, labels, fieldpaths, f'content info "{digest}"')
            time = records.now()
            tx.execute(
                "UPDATE content SET labels=?, updated_at=? WHERE namespace=? AND digest=?",
                (records.dump(new), time, namespace, str(digest)),
            )
        return old._replace(labels=new, updated_at=time)

    def walk(self, namespace: str, filter_texts: Sequence[str] = ()) -> Iterator[Info]:
        """Blobs that match any filter (``digest``, ``labels.<key>``), ordered by digest."""
        wanted = filters.parse_all(filter_texts)
        with self.db.read() as tx:
            rows = tx.execute(
                "SELECT * FROM content WHERE namespace=? ORDER BY digest", (namespace,)
            ).fetchall()
        for row in rows:
            info = _decode(row)
            if wanted(lambda path, info=info: _field(info, path)):  # type: ignore[misc]
                yield info

    def delete(self, namespace: str, digest: str) -> None:
        """Forget the blob in this namespace, remove it with its last record; raises NotFound."""
        with self.lock:
            with self.db.transaction() as tx:
                done = tx.execute(
                    "DELETE FROM content WHERE namespace=? AND digest=?", (namespace, str(digest))
                )
                if not done.rowcount:
                    raise NotFound(f"content digest {digest}: not found")
                tx.execute(
                    "DELETE FROM lease_resources WHERE namespace=? AND type='content' AND id=?",
                    (namespace, str(digest)),
                )
            self.sweep((Digest.parse(digest),))

    def sweep(self, digests: Sequence[Digest]) -> int:
        """Remove the files among *digests* that no namespace has a record of; bytes freed."""
        freed = 0
        with self.lock:
            for digest in digests:
                with self.db.read() as tx:
                    used = tx.execute(
                        "SELECT 1 FROM content WHERE digest=? LIMIT 1", (str(digest),)
                    ).fetchone()
                size = self.blobs.size(digest)
                if not used and size is not None and self.blobs.remove(digest):
                    freed += size
                if not used:
                    self.blobs.drop_damaged(digest)
        return freed

    def damaged(self, digest: str) -> DataLoss:
        """Put bytes aside that turned out wrong; the error to raise.

        The records stay, and the next write heals them. It is read once more, as somebody else may
        have healed it meanwhile.
        """
        found = Digest.parse(digest)
        with self.lock:
            if not self.blobs.verify(found):
                self.blobs.quarantine(found)
        return DataLoss(f"content {digest} is damaged", hint=_DAMAGED_HINT)

    def unreadable(self, digest: Digest, problem: OSError) -> Error:
        """What to raise for a blob that could not be read; put aside where the disk lost it."""
        error = disk.translate(problem, f"read content {digest}")
        if problem.errno in disk.LOST:
            with suppress(Error):  # of a disk that fails altogether; what was read first tells more
                self.damaged(digest)
            error.hint = f"{disk.FAILING_HINT}; {_DAMAGED_HINT}"
        return error

    def examine(self, digest: str) -> None:
        """Read the blob; raises DataLoss, as :meth:`damaged` does, when its bytes are wrong.

        A copy that is not there, for it was put aside already, is none that is wrong.
        """
        found = Digest.parse(digest)
        if self.blobs.size(found) is not None and not self.blobs.verify(found):
            raise self.damaged(digest)

    def give_back(self, namespace: str, digest: str, lease: str) -> None:
        """Remove a blob that only *lease* needs, the file before the record: the disk is full."""
        with self.lock:
            with self.db.read() as tx:
                needed = tx.execute(
                    "SELECT 1 FROM lease_resources WHERE type='content' AND id=?"
                    " AND NOT (namespace=? AND lease=?)"
                    " UNION SELECT 1 FROM content WHERE labels LIKE ?"
                    " UNION SELECT 1 FROM images WHERE digest=?",
                    (str(digest), namespace, lease, f'%"{digest}"%', str(digest)),
                ).fetchone()
            if needed is None:
                self.blobs.remove(Digest.parse(digest))
                self.delete(namespace, digest)

    def writer(
        self, namespace: str, ref: str, *, total: int = 0, expected: str = "", lease: str = ""
    ) -> Writer:
        """Begin or resume writing a blob under the name *ref*.

        Raises AlreadyExists when the namespace has (or now adopts) an intact blob *expected*,
        Unavailable while another writer holds *ref*. The record of the ingest is not flushed.
        """
        if expected:
            self._refuse_existing(namespace, Digest.parse(expected), total, lease)
        algorithm = Digest.parse(expected).algorithm if expected else "sha256"
        with self.db.transaction(durable=False) as tx:
            records.ensure_namespace(tx, namespace)
            add_to_lease(tx, namespace, lease, "ingests", ref)
            tx.execute(
                "INSERT OR REPLACE INTO ingests (namespace, ref, expected, expire_at)"
                " VALUES (?, ?, ?, ?)",
                (namespace, ref, expected, 0 if lease else records.now() + _INGEST_SECONDS * 10**9),
            )
        ingest = self.blobs.ingest(_inner_ref(namespace, ref), total=total, algorithm=algorithm)
        return Writer(self, namespace, ref, ingest, expected, lease)

    def _refuse_existing(self, namespace: str, digest: Digest, total: int, lease: str) -> None:
        size = self.blobs.size(digest)
        if size is None or (total and total != size):
            return
        with self.lock, self.db.transaction(durable=False) as tx:
            row = tx.execute(
                "SELECT max(namespace=?), max(size) FROM content WHERE digest=?",
                (namespace, str(digest)),
            ).fetchone()
            here, recorded = bool(row[0]), row[1]
            if recorded is not None and recorded != size:
                return  # damaged: let it be written again
            if recorded is None and not self.blobs.verify(digest):
                return  # left over from an unfinished commit, and not whole
            if not here:
                self.record(tx, namespace, digest, size, {})
            add_to_lease(tx, namespace, lease, "content", str(digest))
        raise AlreadyExists(f"content {digest}: already exists")

    def record(
        self,
        tx: sqlite3.Connection,
        namespace: str,
        digest: Digest,
        size: int,
        labels: Mapping[str, str],
    ) -> None:
        """Write the record of a blob that is on disk; new labels are added to old ones."""
        records.ensure_namespace(tx, namespace)
        old = self._find(tx, namespace, digest)
        time = records.now()
        merged = records.check_labels({**(old.labels if old else {}), **labels})
        tx.execute(
            "INSERT OR REPLACE INTO content"
            " (namespace, digest, size, labels, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)",
            (
                namespace,
                str(digest),
                size,
                records.dump(merged),
                old.created_at if old else time,
                time,
            ),
        )

    def status(self, namespace: str, ref: str) -> Status:
        """How far an ingest is; raises NotFound."""
        with self.db.read() as tx:
            row = tx.execute(
                "SELECT expected FROM ingests WHERE namespace=? AND ref=?", (namespace, ref)
            ).fetchone()
        if row is None:
            raise NotFound(f"reference {ref}: not found")
        status = self.blobs.status(_inner_ref(namespace, ref))
        return status._replace(ref=ref, expected=row["expected"])

    def statuses(self, namespace: str, filter_texts: Sequence[str] = ()) -> list[Status]:
        """Ingests that match any filter (``ref``)."""
        wanted = filters.parse_all(filter_texts)
        with self.db.read() as tx:
            refs = [
                row["ref"]
                for row in tx.execute(
                    "SELECT ref FROM ingests WHERE namespace=? ORDER BY ref", (namespace,)
                )
            ]
        found = []
        for ref in refs:
            try:
                status = self.status(namespace, ref)
            except NotFound:
                continue
            if wanted(lambda path, ref=ref: ref if tuple(path) == ("ref",) else None):  # type: ignore[misc]
                found.append(status)
        return found

    def abort(self, namespace: str, ref: str) -> None:
        """Give up an ingest; raises NotFound, Unavailable while it is being written."""
        with self.db.transaction(durable=False) as tx:
            known = tx.execute(
                "SELECT 1 FROM ingests WHERE namespace=? AND ref=?", (namespace, ref)
            ).fetchone()
            if known is None:
                raise NotFound(f"reference {ref}: not found")
            inner = _inner_ref(namespace, ref)
            if os.path.isdir(self.blobs.ingest_path(inner)):
                self.blobs.abort(inner)
            self._end_ingest(tx, namespace, ref)

    def _end_ingest(self, tx: sqlite3.Connection, namespace: str, ref: str) -> None:
        tx.execute("DELETE FROM ingests WHERE namespace=? AND ref=?", (namespace, ref))
        tx.execute(
            "DELETE FROM lease_resources WHERE namespace=? AND type='ingests' AND id=?",
            (namespace, ref),
        )


class BlobFile(io.FileIO):
    """A blob that is read."""

    def __init__(self, store: ContentStore, digest: Digest) -> None:
        super().__init__(store.blobs.path(digest))
        self._store = store
        self._digest = digest

    def read(self, size: int | None = -1, /) -> bytes:
        """As any file's; raises DataLoss where the disk fails."""
        try:
            return super().read(-1 if size is None else size) or b""
        except OSError as problem:
            raise self._store.unreadable(self._digest, problem) from problem

    def send(self, fd: int, offset: int, size: int) -> int:
        """Let the kernel write up to *size* bytes from *offset* on to the socket *fd*; how many it took.

        Raises DataLoss where the disk fails, and what writing to the socket raises.
        """
        try:
            return os.sendfile(fd, self.fileno(), offset, size)
        except OSError as problem:
            if problem.errno not in disk.LOST:
                raise
            raise self._store.unreadable(self._digest, problem) from problem


class Writer:
    """An open write of one blob; a context manager that closes, keeping what can be resumed."""

    def __init__(
        self,
        store: ContentStore,
        namespace: str,
        ref: str,
        ingest: Ingest,
        expected: str,
        lease: str,
    ) -> None:
        self.ref = ref
        self.expected = expected
        self._store = store
        self._namespace = namespace
        self._ingest = ingest
        self._lease = lease

    @property
    def offset(self) -> int:
        """Bytes written, those of an earlier attempt included."""
        return self._ingest.offset

    @property
    def total(self) -> int:
        """Bytes announced when the ingest began; 0 when unknown."""
        return self._ingest.total

    @property
    def started_at(self) -> int:
        """When the ingest began, nanoseconds since the epoch."""
        return self._ingest.started_at

    @property
    def digest(self) -> Digest:
        """The digest of what was written so far."""
        return self._ingest.digest

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append *data*; raises ResourceExhausted when the disk is full."""
        return self._ingest.write(data)

    def truncate(self, size: int = 0) -> None:
        """Start again from nothing."""
        self._ingest.truncate(size)

    def commit(
        self,
        size: int = 0,
        expected: str = "",
        labels: Mapping[str, str] | None = None,
        *,
        durable: bool = True,
    ) -> Digest:
        """Make the bytes content of the namespace; they are flushed before the record is written.

        Raises FailedPrecondition (size), DataLoss (digest), and AlreadyExists when the namespace
        had it already (the ingest is over then, too). With ``durable=False`` the record itself
        becomes durable with the next durable transaction, such as the image's.
        """
        store, expected = self._store, expected or self.expected
        if size and size != self.offset:
            raise FailedPrecondition(
                f'"{self.ref}" failed size validation: {self.offset} != {size}'
            )
        digest = self._ingest.sync(size, expected)
        with store.lock, store.db.transaction(durable=durable) as tx:
            existed = store.intact(self._namespace, digest)
            if existed:
                self._ingest.discard()
            else:
                self._ingest.seal(digest)
                store.record(tx, self._namespace, digest, self._ingest.offset, labels or {})
            store._end_ingest(tx, self._namespace, self.ref)
            add_to_lease(tx, self._namespace, self._lease, "content", str(digest))
        if existed:
            raise AlreadyExists(f"content {digest}: already exists")
        return digest

    def close(self) -> None:
        """Stop; what was not committed can be resumed under the same ref."""
        self._ingest.close()

    def discard(self) -> None:
        """Stop and give the space back."""
        self._ingest.discard()
        with self._store.db.transaction(durable=False) as tx:
            self._store._end_ingest(tx, self._namespace, self.ref)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _inner_ref(namespace: str, ref: str) -> str:
    return f"{namespace}/{ref}"


def _decode(row: sqlite3.Row) -> Info:
    return Info(
        Digest(row["digest"]),
        row["size"],
        records.load(row["labels"]),
        row["created_at"],
        row["updated_at"],
    )


def _field(info: Info, path: Sequence[str]) -> str | None:
    if path[0] == "labels":
        return filters.labels_field(info.labels, path)
    return str(info.digest) if tuple(path) == ("digest",) else None
