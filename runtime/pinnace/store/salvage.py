"""A database that is damaged beyond use: put aside, and what can still be read of it taken over.

A board must come up again after a bad power cut (containerd#4838). Nothing is thrown away: the
damaged file stays beside the new one.
"""

from __future__ import annotations

import _sqlite3 as sqlite3
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from pinnace.errors import DataLoss
from pinnace.store import disk
from pinnace.store.metadata import Database

if TYPE_CHECKING:
    from collections.abc import Iterator

_TABLES = (
    "namespaces",
    "images",
    "containers",
    "sandboxes",
    "leases",
    "lease_resources",
    "content",
    "ingests",
    "snapshots",
)


def open_or_rebuild(path: str) -> tuple[Database, str]:
    """The database at *path*, and what had to be done to open it (nothing, as a rule).

    Raises what :class:`Database` raises, except DataLoss.
    """
    try:
        return Database(path), ""
    except DataLoss as error:
        reason = error.message
    aside = f"{path}.damaged-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
    with disk.errors(f"put aside {path}"):
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.rename(path + suffix, aside + suffix)
        disk.sync_directory(os.path.dirname(path))
    database = Database(path)
    taken = _take_over(aside, database)
    return database, (
        f"{reason}; {taken} records were taken over into a new one, the old one is kept as {aside}"
    )


def _take_over(damaged: str, database: Database) -> int:
    """Copy every row that can be read; the number of rows."""
    count = 0
    source = sqlite3.connect(damaged, isolation_level=None)
    source.row_factory = sqlite3.Row
    try:
        with database.transaction() as tx:
            for table in _TABLES:
                known = {row["name"] for row in tx.execute(f"PRAGMA table_info({table})")}
                for row in _readable(source, table):
                    names = [name for name in row.keys() if name in known]  # noqa: SIM118
                    marks = ", ".join("?" * len(names))
                    with suppress(sqlite3.IntegrityError):
                        tx.execute(
                            f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) VALUES ({marks})",  # noqa: S608 (our names)
                            [row[name] for name in names],
                        )
                        count += 1
    finally:
        source.close()
    return count


def _readable(source: sqlite3.Connection, table: str) -> Iterator[sqlite3.Row]:
    """Rows until the damage, and from the other end until the damage."""
    for order in ("ASC", "DESC"):
        with suppress(sqlite3.DatabaseError):
            rows = source.execute(f"SELECT * FROM {table} ORDER BY 1 {order}, 2 {order}")  # noqa: S608
            while (row := rows.fetchone()) is not None:
                yield row
            return
