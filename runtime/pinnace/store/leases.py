"""Leases: what a client holds on to while it works, so that the collector leaves it alone.

They are not flushed to the card: a power cut ends the client's work, and its leases with it.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from pinnace.errors import AlreadyExists, Error, InvalidArgument, NotFound, Unimplemented
from pinnace.spec.digest import Digest
from pinnace.store import filters, records

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping, Sequence

    from pinnace.store.metadata import Database

EXPIRE_LABEL = "containerd.io/gc.expire"
FLAT_LABEL = "containerd.io/gc.flat"
_DAY_SECONDS = 24 * 3600


class Lease(NamedTuple):
    """A lease; ``created_at`` is nanoseconds since the epoch."""

    id: str
    labels: Mapping[str, str] = {}
    created_at: int = 0


class Resource(NamedTuple):
    """What a lease may hold: ``content``, ``ingests``, ``images`` or ``snapshots/<snapshotter>``."""

    type: str
    id: str


class LeaseStore:
    """The leases of each namespace and what they hold."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def create(self, namespace: str, lease: Lease) -> Lease:
        """Add a lease; raises AlreadyExists."""
        if not lease.id:
            raise InvalidArgument("lease id must be provided")
        lease = lease._replace(labels=records.check_labels(lease.labels), created_at=records.now())
        with self.db.transaction(durable=False) as tx:
            records.ensure_namespace(tx, namespace)
            done = tx.execute(
                "INSERT OR IGNORE INTO leases (namespace, id, labels, created_at)"
                " VALUES (?, ?, ?, ?)",
                (namespace, lease.id, records.dump(lease.labels), lease.created_at),
            )
            if not done.rowcount:
                raise AlreadyExists(f'lease "{lease.id}": already exists')
        return lease

    @contextmanager
    def temporary(self, namespace: str, purpose: str) -> Iterator[str]:
        """The id of a lease to work under; it ends with the block, or after a day.

        That it cannot be ended (a full disk) is no error: another one matters more then.
        """
        name = f"{purpose}-{os.urandom(6).hex()}"
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + _DAY_SECONDS))
        self.create(namespace, Lease(name, {EXPIRE_LABEL: until}))
        try:
            yield name
        finally:
            with suppress(Error):
                self.delete(namespace, name)

    def get(self, namespace: str, lease: str) -> Lease:
        """The lease; raises NotFound."""
        with self.db.read() as tx:
            row = tx.execute(
                "SELECT * FROM leases WHERE namespace=? AND id=?", (namespace, lease)
            ).fetchone()
        if row is None:
            raise NotFound(f'lease "{lease}": not found')
        return _decode(row)

    def list(self, namespace: str, filter_texts: Sequence[str] = ()) -> list[Lease]:
        """Leases that match any filter (``id``, ``labels.<key>``), ordered by id."""
        wanted = filters.parse_all(filter_texts)
        with self.db.read() as tx:
            rows = tx.execute(
                "SELECT * FROM leases WHERE namespace=? ORDER BY id", (namespace,)
            ).fetchall()
        leases = [_decode(row) for row in rows]
        return [lease for lease in leases if wanted(partial(_field, lease))]

    def delete(self, namespace: str, lease: str) -> None:
        """End a lease; raises NotFound."""
        with self.db.transaction(durable=False) as tx:
            done = tx.execute("DELETE FROM leases WHERE namespace=? AND id=?", (namespace, lease))
            if not done.rowcount:
                raise NotFound(f'lease "{lease}": not found')
            tx.execute(
                "DELETE FROM lease_resources WHERE namespace=? AND lease=?", (namespace, lease)
            )

    def add_resource(self, namespace: str, lease: str, resource: Resource) -> None:
        """Hold *resource*; raises NotFound without such a lease."""
        _check_resource(resource)
        with self.db.transaction(durable=False) as tx:
            self.get(namespace, lease)
            add_to_lease(tx, namespace, lease, *resource)

    def delete_resource(self, namespace: str, lease: str, resource: Resource) -> None:
        """Let go of *resource*; raises NotFound without such a lease."""
        _check_resource(resource)
        with self.db.transaction(durable=False) as tx:
            self.get(namespace, lease)
            remove_from_lease(tx, namespace, lease, *resource)

    def resources(self, namespace: str, lease: str) -> tuple[Resource, ...]:
        """What the lease holds; raises NotFound."""
        with self.db.read() as tx:
            rows = tx.execute(
                "SELECT type, id FROM lease_resources WHERE namespace=? AND lease=?"
                " ORDER BY type, id",
                (namespace, lease),
            ).fetchall()
        if not rows:
            self.get(namespace, lease)
        return tuple(Resource(row["type"], row["id"]) for row in rows)


def add_to_lease(
    tx: sqlite3.Connection, namespace: str, lease: str, kind: str, identifier: str
) -> None:
    """Hold something under *lease* in the caller's transaction; no lease, nothing to do."""
    if not lease:
        return
    if not tx.execute(
        "SELECT 1 FROM leases WHERE namespace=? AND id=?", (namespace, lease)
    ).fetchone():
        raise NotFound("lease does not exist: not found")
    tx.execute(
        "INSERT OR IGNORE INTO lease_resources (namespace, lease, type, id) VALUES (?, ?, ?, ?)",
        (namespace, lease, kind, identifier),
    )


def remove_from_lease(
    tx: sqlite3.Connection, namespace: str, lease: str, kind: str, identifier: str
) -> None:
    """The reverse of :func:`add_to_lease`."""
    tx.execute(
        "DELETE FROM lease_resources WHERE namespace=? AND lease=? AND type=? AND id=?",
        (namespace, lease, kind, identifier),
    )


def _check_resource(resource: Resource) -> None:
    head, *rest = resource.type.split("/")
    if head == "snapshots":
        if len(rest) != 1 or not rest[0]:
            raise InvalidArgument(f"invalid snapshot resource type {resource.type}")
    elif head not in ("content", "ingests", "images"):
        raise Unimplemented(f"resource type {resource.type} not supported yet")
    elif rest:
        raise InvalidArgument(f"invalid resource type {resource.type}")
    if head == "content":
        Digest.parse(resource.id)


def _decode(row: sqlite3.Row) -> Lease:
    return Lease(row["id"], records.load(row["labels"]), row["created_at"])


def _field(lease: Lease, path: Sequence[str]) -> str | None:
    if path[0] == "labels":
        return filters.labels_field(lease.labels, path)
    return lease.id if tuple(path) == ("id",) else None
