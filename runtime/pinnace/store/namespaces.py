"""Namespaces: separate worlds of images, containers, content and snapshots in one daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.errors import AlreadyExists, FailedPrecondition, NotFound
from pinnace.store import records

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from pinnace.store.metadata import Database


class NamespaceStore:
    """Namespaces and their labels."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def create(self, name: str, labels: Mapping[str, str] | None = None) -> records.Labels:
        """Add a namespace, return its labels; raises AlreadyExists, InvalidArgument."""
        records.check_identifier(name)
        checked = records.check_labels(labels or {})
        with self.db.transaction() as tx:
            done = tx.execute(
                "INSERT OR IGNORE INTO namespaces (name, labels) VALUES (?, ?)",
                (name, records.dump(checked)),
            )
            if not done.rowcount:
                raise AlreadyExists(f'namespace "{name}": already exists')
        return checked

    def get(self, name: str) -> records.Labels:
        """The labels of a namespace; raises NotFound."""
        with self.db.read() as tx:
            row = tx.execute("SELECT labels FROM namespaces WHERE name=?", (name,)).fetchone()
        if row is None:
            raise NotFound(f'namespace "{name}": not found')
        return records.load(row["labels"])

    def list(self) -> dict[str, records.Labels]:
        """All namespaces with their labels, ordered by name."""
        with self.db.read() as tx:
            rows = tx.execute("SELECT name, labels FROM namespaces ORDER BY name").fetchall()
        return {row["name"]: records.load(row["labels"]) for row in rows}

    def update(
        self, name: str, labels: Mapping[str, str], fieldpaths: Sequence[str] = ()
    ) -> records.Labels:
        """Change labels (``labels``, ``labels.<key>``), return all; raises NotFound."""
        with self.db.transaction() as tx:
            old = self.get(name)
            new = records.update_labels(old, labels, fieldpaths, f'namespace "{name}"')
            tx.execute("UPDATE namespaces SET labels=? WHERE name=?", (records.dump(new), name))
        return new

    def delete(self, name: str) -> None:
        """Remove an empty namespace; raises NotFound, FailedPrecondition naming what is left."""
        with self.db.transaction() as tx:
            left = _contents(tx, name)
            if left:
                raise FailedPrecondition(
                    f'namespace "{name}" must be empty, but it still has {", ".join(left)}'
                )
            if not tx.execute("DELETE FROM namespaces WHERE name=?", (name,)).rowcount:
                raise NotFound(f'namespace "{name}": not found')
            for table in ("leases", "lease_resources", "ingests"):
                tx.execute(f"DELETE FROM {table} WHERE namespace=?", (name,))  # noqa: S608 (our constants)


def _contents(tx: sqlite3.Connection, name: str) -> list[str]:
    left = [
        noun
        for table, noun in (
            ("images", "images"),
            ("content", "blobs"),
            ("containers", "containers"),
            ("sandboxes", "sandboxes"),
        )
        if tx.execute(f"SELECT 1 FROM {table} WHERE namespace=? LIMIT 1", (name,)).fetchone()  # noqa: S608
    ]
    rows = tx.execute(
        "SELECT DISTINCT snapshotter FROM snapshots WHERE namespace=? ORDER BY 1", (name,)
    )
    return left + [f'snapshots on "{row[0]}" snapshotter' for row in rows]
