"""Snapshots: the interface, its semantics, and the bookkeeping that all snapshotters share.

Semantics (containerd's, so that its clients work):

* ``prepare`` makes an *active* snapshot, writable, on top of a *committed* parent or on nothing;
  ``view`` makes a read-only one. Both return the mounts that show it; nothing is mounted here.
* ``commit`` turns an active snapshot into a committed one under another name; the key is gone.
  Committed snapshots never change; their parents form a chain.
* ``remove`` refuses a snapshot that others stand on.
* ``stat``, ``usage``, ``walk`` and ``update`` (labels) say and change what is recorded.

Keys and names share one space per namespace and snapshotter. Each snapshot owns the directory
``snapshots/<number>``; what is in there is the business of the subclass.

Promise on power cuts: a record of a committed snapshot is written after its files were flushed;
a record of an active one is not flushed by itself, and :meth:`Snapshotter.cleanup` at start
removes directories without records and records without directories.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from pinnace.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from pinnace.store import disk, filters, records
from pinnace.store.leases import add_to_lease
from pinnace.store.usage import Usage, disk_usage

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pinnace.linux.mount import Mount
    from pinnace.store.metadata import Database

ACTIVE, VIEW, COMMITTED = "active", "view", "committed"
TARGET_LABEL = "containerd.io/snapshot.ref"
_MAX_DEPTH = 500
_STAGED = "new-"


class Info(NamedTuple):
    """A snapshot's record; times are nanoseconds since the epoch."""

    name: str
    kind: str
    parent: str
    labels: Mapping[str, str]
    created_at: int
    updated_at: int


class Snapshot(NamedTuple):
    """What a backend needs: directory number, kind, and the chain of parents, nearest first."""

    number: int
    kind: str
    parents: tuple[int, ...]


class StagedLayer(NamedTuple):
    """A filled directory that is to become the committed snapshot *name* on *parent*."""

    path: str
    name: str
    parent: str
    labels: Mapping[str, str]
    usage: Usage


class Snapshotter:
    """Base of the snapshotters; safe to use from many threads."""

    name = ""

    def __init__(self, root: str | Path, db: Database) -> None:
        self.root = os.fspath(root)
        self.db = db
        with disk.errors(f"create snapshotter root {self.root}"):
            os.makedirs(os.path.join(self.root, "snapshots"), mode=0o700, exist_ok=True)

    # What a subclass says.

    def create_directory(self, path: str, kind: str, parent: str) -> None:
        """Fill the new, empty directory *path*; *parent* is the data path of the parent, if any."""
        raise NotImplementedError

    def data_of(self, path: str) -> str:
        """Where in a snapshot's directory *path* its own files are (all, if it copies)."""
        return os.path.join(path, "fs")

    def mounts_of(self, snapshot: Snapshot) -> list[Mount]:
        """The mounts that show the snapshot."""
        raise NotImplementedError

    def discard(self, path: str) -> None:
        """Remove a snapshot's directory *path* with everything in it; what is gone is fine."""
        disk.remove_tree(path)

    def measure(self, path: str, parent: str) -> Usage:
        """What the snapshot with the data path *path* takes of the disk by itself.

        *parent* is the data path of its parent, if any.
        """
        return disk_usage(path)

    # Many at once: an image's layers are filled first and recorded together.

    def stage(self, parent: str = "") -> str:
        """A new directory to fill (below its :meth:`data_of`), recorded nowhere yet.

        *parent* is the data path of the layer below. Give it to :meth:`adopt`, or remove it; a
        restart removes it, too.
        """
        with disk.errors(f"create a snapshot directory in {self.root}"):
            path = os.path.join(self.root, "snapshots", _STAGED + os.urandom(8).hex())
            os.mkdir(path, 0o700)
            self.create_directory(path, ACTIVE, parent)
        return path

    def adopt(self, namespace: str, layers: Sequence[StagedLayer], *, lease: str = "") -> None:
        """Record staged directories as committed snapshots, lowest first, in one transaction.

        The caller has flushed them. A name that exists meanwhile keeps what it has.
        """
        with self.db.transaction() as tx, disk.errors("commit snapshots"):
            for layer in layers:
                if self._row(tx, namespace, layer.name) is None:
                    snapshot = self._insert(
                        tx, namespace, layer.name, layer.parent, COMMITTED, layer.labels
                    )
                    tx.execute(
                        "UPDATE snapshots SET size=?, inodes=? WHERE number=?",
                        (layer.usage.size, layer.usage.inodes, snapshot.number),
                    )
                    self.discard(self.directory(snapshot.number))
                    os.rename(layer.path, self.directory(snapshot.number))
                add_to_lease(tx, namespace, lease, f"snapshots/{self.name}", layer.name)
            disk.sync_directory(os.path.join(self.root, "snapshots"))

    # What users of a snapshotter call.

    def prepare(
        self,
        namespace: str,
        key: str,
        parent: str = "",
        labels: Mapping[str, str] | None = None,
        *,
        lease: str = "",
    ) -> list[Mount]:
        """Make an active snapshot; raises NotFound (parent), AlreadyExists, InvalidArgument."""
        return self._create(namespace, key, parent, ACTIVE, labels or {}, lease)

    def view(
        self,
        namespace: str,
        key: str,
        parent: str = "",
        labels: Mapping[str, str] | None = None,
        *,
        lease: str = "",
    ) -> list[Mount]:
        """Make a read-only snapshot; raises as :meth:`prepare` does."""
        return self._create(namespace, key, parent, VIEW, labels or {}, lease)

    def _create(
        self,
        namespace: str,
        key: str,
        parent: str,
        kind: str,
        labels: Mapping[str, str],
        lease: str,
    ) -> list[Mount]:
        if not key:
            raise InvalidArgument("snapshot key must not be empty")
        labels = records.check_labels(labels)
        with self.db.transaction(durable=False) as tx:
            records.ensure_namespace(tx, namespace)
            found = self._existing(tx, namespace, (labels.get(TARGET_LABEL, ""), key))
            if found:
                add_to_lease(tx, namespace, lease, f"snapshots/{self.name}", found)
            else:
                snapshot = self._insert(tx, namespace, key, parent, kind, labels)
                add_to_lease(tx, namespace, lease, f"snapshots/{self.name}", key)
                path = self.directory(snapshot.number)
                with disk.errors(f"create snapshot {key}"):
                    self._make_directory(snapshot, path)
        if found:
            what = "snapshot" if found == key else "target snapshot"
            raise AlreadyExists(f'{what} "{found}": already exists')
        return self.mounts_of(snapshot)

    def _existing(self, tx: sqlite3.Connection, namespace: str, names: Sequence[str]) -> str:
        return next((name for name in names if name and self._row(tx, namespace, name)), "")

    def _insert(
        self,
        tx: sqlite3.Connection,
        namespace: str,
        key: str,
        parent: str,
        kind: str,
        labels: Mapping[str, str],
    ) -> Snapshot:
        parents: tuple[int, ...] = ()
        if parent:
            row = self._row(tx, namespace, parent)
            if row is None:
                raise NotFound(f"parent snapshot {parent} does not exist: not found")
            if row["kind"] != COMMITTED:
                raise InvalidArgument(f'parent "{parent}" is not committed snapshot')
            parents = (row["number"], *self._parents(tx, namespace, row))
        time = records.now()
        done = tx.execute(
            "INSERT INTO snapshots (namespace, snapshotter, key, parent, kind, labels, size,"
            " inodes, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, 0, 0, ?, ?)",
            (namespace, self.name, key, parent, kind, records.dump(labels), time, time),
        )
        return Snapshot(int(done.lastrowid or 0), kind, parents)

    def _make_directory(self, snapshot: Snapshot, path: str) -> None:
        self.discard(path)  # of a snapshot whose record a power cut took
        os.mkdir(path, 0o700)
        try:
            parent = self.data_path(snapshot.parents[0]) if snapshot.parents else ""
            self.create_directory(path, snapshot.kind, parent)
        except BaseException:
            self.discard(path)
            raise

    def commit(
        self,
        namespace: str,
        name: str,
        key: str,
        labels: Mapping[str, str] | None = None,
        *,
        lease: str = "",
        usage: Usage | None = None,
        flushed: bool = False,
    ) -> None:
        """Turn the active snapshot *key* into the committed snapshot *name*.

        Its files are flushed first, unless the caller did so (*flushed*), and counted, unless the
        caller knows (*usage*). Raises NotFound, AlreadyExists, FailedPrecondition (not active).
        """
        checked = records.check_labels(labels or {})
        if usage is None:
            usage = self._measure(namespace, key)
        if not flushed:
            with disk.errors(f"flush snapshot {key}"):
                disk.sync_file_system(self.root)
        with self.db.transaction() as tx:
            row = self._need(tx, namespace, key)
            add_to_lease(tx, namespace, lease, f"snapshots/{self.name}", name)
            if self._row(tx, namespace, name) is not None:
                raise AlreadyExists(f'snapshot "{name}": already exists')
            if row["kind"] != ACTIVE:
                raise FailedPrecondition(f'snapshot "{key}" is not active')
            time = records.now()
            tx.execute(
                "UPDATE snapshots SET key=?, kind=?, labels=?, size=?, inodes=?, created_at=?,"
                " updated_at=? WHERE number=?",
                (
                    name,
                    COMMITTED,
                    records.dump(checked),
                    usage.size,
                    usage.inodes,
                    time,
                    time,
                    row["number"],
                ),
            )
            tx.execute(
                "DELETE FROM lease_resources WHERE namespace=? AND type=? AND id=?",
                (namespace, f"snapshots/{self.name}", key),
            )

    def mounts(self, namespace: str, key: str) -> list[Mount]:
        """The mounts of an active snapshot or a view; raises NotFound, FailedPrecondition."""
        with self.db.read() as tx:
            row = self._need(tx, namespace, key)
            parents = self._parents(tx, namespace, row)
        if row["kind"] == COMMITTED:
            raise FailedPrecondition(f"requested snapshot {key} not active or view")
        return self.mounts_of(Snapshot(row["number"], row["kind"], parents))

    def paths(self, namespace: str, key: str) -> list[str]:
        """Data directories of a snapshot of any kind and of its parents, nearest first."""
        with self.db.read() as tx:
            row = self._need(tx, namespace, key)
            parents = self._parents(tx, namespace, row)
        return [self.data_path(number) for number in (row["number"], *parents)]

    def remove(self, namespace: str, key: str) -> None:
        """Remove a snapshot and its files; raises NotFound, FailedPrecondition with children."""
        with self.db.read() as tx:
            durable = self._need(tx, namespace, key)["kind"] == COMMITTED
        with self.db.transaction(durable=durable) as tx:
            number = self.forget(tx, namespace, key)
        self.remove_directory(number)

    def forget(self, tx: sqlite3.Connection, namespace: str, key: str) -> int:
        """Remove the record only, in the caller's transaction; the number of its directory."""
        row = self._need(tx, namespace, key)
        child = tx.execute(
            "SELECT 1 FROM snapshots WHERE namespace=? AND snapshotter=? AND parent=? LIMIT 1",
            (namespace, self.name, key),
        ).fetchone()
        if child is not None:
            raise FailedPrecondition("cannot remove snapshot with child")
        tx.execute("DELETE FROM snapshots WHERE number=?", (row["number"],))
        tx.execute(
            "DELETE FROM lease_resources WHERE namespace=? AND type=? AND id=?",
            (namespace, f"snapshots/{self.name}", key),
        )
        return int(row["number"])

    def remove_directory(self, number: int) -> None:
        """Remove the files of a snapshot whose record is gone."""
        with disk.errors(f"remove snapshot directory {number}"):
            self.discard(self.directory(number))

    def hold(self, namespace: str, key: str, lease: str) -> bool:
        """Let *lease* keep the snapshot from the collector; False when there is none."""
        with self.db.transaction(durable=False) as tx:
            if self._row(tx, namespace, key) is None:
                return False
            add_to_lease(tx, namespace, lease, f"snapshots/{self.name}", key)
        return True

    def stat(self, namespace: str, key: str) -> Info:
        """The record; raises NotFound."""
        with self.db.read() as tx:
            return _decode(self._need(tx, namespace, key))

    def update(
        self,
        namespace: str,
        key: str,
        labels: Mapping[str, str],
        fieldpaths: Sequence[str] = (),
    ) -> Info:
        """Change labels (``labels``, ``labels.<key>``; all if none is named); raises NotFound."""
        with self.db.transaction() as tx:
            old = self.stat(namespace, key)
            new = records.update_labels(old.labels, labels, fieldpaths, f'snapshot "{key}"')
            time = records.now()
            tx.execute(
                "UPDATE snapshots SET labels=?, updated_at=?"
                " WHERE namespace=? AND snapshotter=? AND key=?",
                (records.dump(new), time, namespace, self.name, key),
            )
        return old._replace(labels=new, updated_at=time)

    def usage(self, namespace: str, key: str) -> Usage:
        """Disk space of this snapshot alone, without its parents; raises NotFound."""
        with self.db.read() as tx:
            row = self._need(tx, namespace, key)
        if row["kind"] == COMMITTED:
            return Usage(row["inodes"], row["size"])
        return self._measure(namespace, key) if row["kind"] == ACTIVE else Usage(0, 0)

    def _measure(self, namespace: str, key: str) -> Usage:
        own, *parents = self.paths(namespace, key)
        return self.measure(own, parents[0] if parents else "")

    def walk(self, namespace: str, filter_texts: Sequence[str] = ()) -> Iterator[Info]:
        """Snapshots that match any filter (``name``, ``parent``, ``kind``, ``labels.<key>``)."""
        wanted = filters.parse_all(filter_texts)
        with self.db.read() as tx:
            rows = tx.execute(
                "SELECT * FROM snapshots WHERE namespace=? AND snapshotter=? ORDER BY key",
                (namespace, self.name),
            ).fetchall()
        for info in map(_decode, rows):
            if wanted(lambda path, info=info: _field(info, path)):  # type: ignore[misc]
                yield info

    def cleanup(self, *, keep: bool = False) -> int:
        """Bring directories and records back together after a crash; directories removed.

        Call it at start, before the snapshotter is used. With *keep*, after records were lost,
        directories without a record are renamed to ``lost-<number>`` instead.
        """
        base = os.path.join(self.root, "snapshots")
        with disk.errors(f"clean up {base}"), self.db.transaction() as tx:
            names = os.listdir(base)
            on_disk = {int(name): name for name in names if name.isdecimal()}
            staged = [name for name in names if name.startswith(_STAGED)]
            recorded = {
                row["number"]
                for row in tx.execute(
                    "SELECT number FROM snapshots WHERE snapshotter=?", (self.name,)
                )
            }
            for number in recorded - on_disk.keys():
                tx.execute("DELETE FROM snapshots WHERE number=?", (number,))
        orphans = [name for number, name in on_disk.items() if number not in recorded]
        for name in orphans if keep else ():
            with disk.errors(f"keep {name} in {base}"):
                os.rename(os.path.join(base, name), os.path.join(base, f"lost-{name}"))
        for name in staged if keep else orphans + staged:
            with disk.errors(f"remove {name} in {base}"):
                self.discard(os.path.join(base, name))
        return len(orphans) + len(staged)

    def directory(self, number: int) -> str:
        """The directory that a snapshot owns."""
        return os.path.join(self.root, "snapshots", str(number))

    def data_path(self, number: int) -> str:
        """Where a snapshot's own files are."""
        return self.data_of(self.directory(number))

    def _row(self, tx: sqlite3.Connection, namespace: str, key: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = tx.execute(
            "SELECT * FROM snapshots WHERE namespace=? AND snapshotter=? AND key=?",
            (namespace, self.name, key),
        ).fetchone()
        return row

    def _need(self, tx: sqlite3.Connection, namespace: str, key: str) -> sqlite3.Row:
        row = self._row(tx, namespace, key)
        if row is None:
            raise NotFound(f"snapshot {key} does not exist: not found")
        return row

    def _parents(self, tx: sqlite3.Connection, namespace: str, row: sqlite3.Row) -> tuple[int, ...]:
        chain: list[int] = []
        while row["parent"]:
            parent = self._row(tx, namespace, row["parent"])
            if parent is None or len(chain) > _MAX_DEPTH:
                raise NotFound(f"parent snapshot {row['parent']} does not exist: not found")
            chain.append(parent["number"])
            row = parent
        return tuple(chain)


def _decode(row: sqlite3.Row) -> Info:
    return Info(
        row["key"],
        row["kind"],
        row["parent"],
        records.load(row["labels"]),
        row["created_at"],
        row["updated_at"],
    )


def _field(info: Info, path: Sequence[str]) -> str | None:
    if path[0] == "labels":
        return filters.labels_field(info.labels, path)
    return {"name": info.name, "parent": info.parent, "kind": info.kind}.get(".".join(path))
