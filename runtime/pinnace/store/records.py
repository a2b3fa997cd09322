"""What the stores have in common: labels, times, field masks, and one table of named records.

Messages follow containerd's, since its clients print and sometimes match them.
"""

from __future__ import annotations

import binascii
import json
import re
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from pinnace.errors import AlreadyExists, InvalidArgument, NotFound
from pinnace.store import filters

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from pinnace.store.metadata import Database

Labels = dict[str, str]
_MAX_LABEL = 4096
_MAX_IDENTIFIER = 76
_IDENTIFIER = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*\Z")
_IDENTIFIER_SHOWN = "^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$"

Record = TypeVar("Record")
Value = TypeVar("Value")


class TypedValue(NamedTuple):
    """A message whose type travels with it (protobuf's Any): type URL and encoded bytes."""

    type_url: str
    value: bytes


def now() -> int:
    """Nanoseconds since the epoch."""
    return time.time_ns()


def check_identifier(text: str, context: str = "") -> str:
    """Return *text* if it may name a namespace or container, as containerd allows it.

    Raises InvalidArgument in containerd's words, with ``context`` in front of them.
    """
    where = f"{context}: " if context else ""
    if not text:
        raise InvalidArgument(f"{where}identifier must not be empty")
    if len(text) > _MAX_IDENTIFIER:
        raise InvalidArgument(
            f"{where}identifier {json.dumps(text[:100])} greater than maximum length "
            f"({_MAX_IDENTIFIER} characters)"
        )
    if not _IDENTIFIER.match(text):
        raise InvalidArgument(
            f"{where}identifier {json.dumps(text)} must match {_IDENTIFIER_SHOWN}"
        )
    return text


def check_labels(labels: Mapping[str, str]) -> Labels:
    """Checked copy of *labels*; a label without a value is no label."""
    for key, value in labels.items():
        if len(key) + len(value) > _MAX_LABEL:
            raise InvalidArgument(
                f"label key and value length ({len(key) + len(value)} bytes) greater than "
                f"maximum size ({_MAX_LABEL} bytes), key: {key[:64]}"
            )
    return {key: value for key, value in labels.items() if value}


def update_labels(
    old: Mapping[str, str], new: Mapping[str, str], fieldpaths: Sequence[str], what: str
) -> Labels:
    """Apply a field mask that may name ``labels`` and ``labels.<key>`` only (all if empty)."""
    if not fieldpaths:
        return check_labels(new)
    labels = dict(old)
    for path in fieldpaths:
        if path == "labels":
            labels = dict(new)
        elif path.startswith("labels."):
            key = path[len("labels.") :]
            labels[key] = new.get(key, "")
        else:
            raise InvalidArgument(f'cannot update "{path}" field on {what}')
    return check_labels(labels)


def update_map(old: Mapping[str, Value], new: Mapping[str, Value], path: str) -> dict[str, Value]:
    """Apply one path of a field mask, ``<map>`` or ``<map>.<key>``."""
    _, _, key = path.partition(".")
    if not key:
        return dict(new)
    changed = {name: value for name, value in old.items() if name != key}
    if key in new:
        changed[key] = new[key]
    return changed


def pack(value: TypedValue | None) -> dict[str, str]:
    """A typed value for a JSON column."""
    if value is None:
        return {}
    return {
        "type": value.type_url,
        "value": binascii.b2a_base64(value.value, newline=False).decode(),
    }


def unpack(packed: Mapping[str, str]) -> TypedValue | None:
    """What :func:`pack` made."""
    if not packed:
        return None
    return TypedValue(packed["type"], binascii.a2b_base64(packed["value"]))


def unpack_all(packed: Mapping[str, Mapping[str, str]]) -> dict[str, TypedValue]:
    """A map of typed values."""
    found = {key: unpack(value) for key, value in packed.items()}
    return {key: value for key, value in found.items() if value is not None}


def dump(value: Mapping[str, Any]) -> str:
    """A JSON column."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def load(text: str) -> dict[str, Any]:
    """Read a JSON column."""
    value: dict[str, Any] = json.loads(text)
    return value


def ensure_namespace(tx: sqlite3.Connection, namespace: str) -> None:
    """Make the namespace if this is the first thing in it, as containerd does."""
    check_identifier(namespace)
    tx.execute("INSERT OR IGNORE INTO namespaces (name, labels) VALUES (?, '{}')", (namespace,))


class Table(Generic[Record]):
    """Namespaced records with a key: what images and containers have in common.

    A subclass names the table and says how a record becomes columns and back.
    """

    table = ""
    key_column = ""
    noun = ""

    def __init__(self, db: Database) -> None:
        self.db = db

    def get(self, namespace: str, key: str) -> Record:
        """The record; raises NotFound."""
        with self.db.read() as tx:
            row = tx.execute(
                f"SELECT * FROM {self.table} WHERE namespace=? AND {self.key_column}=?",  # noqa: S608 (our constants)
                (namespace, key),
            ).fetchone()
        if row is None:
            raise NotFound(self.missing(namespace, key))
        return self.decode(row)

    def list(self, namespace: str, filter_texts: Sequence[str] = ()) -> list[Record]:
        """Records that match any of the filters (all without filters), ordered by key."""
        wanted = filters.parse_all(filter_texts)
        with self.db.read() as tx:
            rows = tx.execute(
                f"SELECT * FROM {self.table} WHERE namespace=? ORDER BY {self.key_column}",  # noqa: S608
                (namespace,),
            ).fetchall()
        records = [self.decode(row) for row in rows]
        return [record for record in records if wanted(partial(self.field, record))]

    def delete(self, namespace: str, key: str) -> None:
        """Remove the record; raises NotFound."""
        with self.db.transaction() as tx:
            done = tx.execute(
                f"DELETE FROM {self.table} WHERE namespace=? AND {self.key_column}=?",  # noqa: S608
                (namespace, key),
            )
            if not done.rowcount:
                raise NotFound(self.missing(namespace, key))

    def insert(self, namespace: str, record: Record) -> None:
        """Add a row; raises AlreadyExists."""
        columns = self.encode(record)
        key = columns[self.key_column]
        names = ", ".join(columns)
        marks = ", ".join("?" * (len(columns) + 1))
        with self.db.transaction() as tx:
            ensure_namespace(tx, namespace)
            done = tx.execute(
                f"INSERT OR IGNORE INTO {self.table} (namespace, {names}) VALUES ({marks})",  # noqa: S608
                (namespace, *columns.values()),
            )
            if not done.rowcount:
                raise AlreadyExists(f'{self.noun} "{key}": already exists')

    def replace(self, namespace: str, record: Record) -> None:
        """Overwrite an existing row."""
        columns = self.encode(record)
        assignments = ", ".join(f"{name}=?" for name in columns)
        with self.db.transaction() as tx:
            tx.execute(
                f"UPDATE {self.table} SET {assignments} WHERE namespace=? AND {self.key_column}=?",  # noqa: S608
                (*columns.values(), namespace, columns[self.key_column]),
            )

    def missing(self, namespace: str, key: str) -> str:
        """The words for a record that is not there."""
        return f'{self.noun} "{key}": not found'

    def encode(self, record: Record) -> dict[str, Any]:
        """Columns of a record, its key among them."""
        raise NotImplementedError

    def decode(self, row: sqlite3.Row) -> Record:
        """The record of a row."""
        raise NotImplementedError

    def field(self, record: Record, path: Sequence[str]) -> str | None:
        """What a filter sees of the record at *path*; None when there is nothing."""
        raise NotImplementedError
