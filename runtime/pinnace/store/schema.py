"""The tables of the metadata database, as the list of steps that led to them.

``PRAGMA user_version`` counts the steps taken. A step is never changed once released; a new one
is added. Labels, annotations and the like are JSON objects of strings. ``*_at`` columns are
nanoseconds since the epoch.
"""

from __future__ import annotations

_FIRST = (
    """CREATE TABLE namespaces (
        name TEXT PRIMARY KEY, labels TEXT NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE images (
        namespace TEXT NOT NULL, name TEXT NOT NULL,
        media_type TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL,
        annotations TEXT NOT NULL, labels TEXT NOT NULL,
        created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
        PRIMARY KEY (namespace, name)
    ) WITHOUT ROWID""",
    """CREATE TABLE containers (
        namespace TEXT NOT NULL, id TEXT NOT NULL, image TEXT NOT NULL, labels TEXT NOT NULL,
        runtime_name TEXT NOT NULL, runtime_options TEXT NOT NULL, spec TEXT NOT NULL,
        snapshotter TEXT NOT NULL, snapshot_key TEXT NOT NULL, extensions TEXT NOT NULL,
        sandbox TEXT NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
        PRIMARY KEY (namespace, id)
    )""",
    """CREATE TABLE leases (
        namespace TEXT NOT NULL, id TEXT NOT NULL, labels TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        PRIMARY KEY (namespace, id)
    ) WITHOUT ROWID""",
    """CREATE TABLE lease_resources (
        namespace TEXT NOT NULL, lease TEXT NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL,
        PRIMARY KEY (namespace, lease, type, id),
        FOREIGN KEY (namespace, lease) REFERENCES leases (namespace, id) ON DELETE CASCADE
    ) WITHOUT ROWID""",
    """CREATE TABLE content (
        namespace TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL,
        labels TEXT NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
        PRIMARY KEY (namespace, digest)
    ) WITHOUT ROWID""",
    "CREATE INDEX content_digest ON content (digest)",
    """CREATE TABLE ingests (
        namespace TEXT NOT NULL, ref TEXT NOT NULL, expected TEXT NOT NULL,
        expire_at INTEGER NOT NULL,
        PRIMARY KEY (namespace, ref)
    ) WITHOUT ROWID""",
    # AUTOINCREMENT: a directory number is never used twice, so that a directory left behind by a
    # crash cannot become part of another snapshot.
    """CREATE TABLE snapshots (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        namespace TEXT NOT NULL, snapshotter TEXT NOT NULL, key TEXT NOT NULL,
        parent TEXT NOT NULL, kind TEXT NOT NULL, labels TEXT NOT NULL,
        size INTEGER NOT NULL, inodes INTEGER NOT NULL,
        created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
        UNIQUE (namespace, snapshotter, key)
    )""",
    "CREATE INDEX snapshots_parent ON snapshots (namespace, snapshotter, parent)",
)

_SANDBOXES = (
    """CREATE TABLE sandboxes (
        namespace TEXT NOT NULL, id TEXT NOT NULL,
        runtime_name TEXT NOT NULL, runtime_options TEXT NOT NULL, spec TEXT NOT NULL,
        labels TEXT NOT NULL, extensions TEXT NOT NULL, sandboxer TEXT NOT NULL,
        created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
        PRIMARY KEY (namespace, id)
    )""",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST, _SANDBOXES)
