"""Sandboxes: records of what groups containers, such as a pod. Whether one runs is not kept here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pinnace.errors import InvalidArgument
from pinnace.store import filters, records
from pinnace.store.records import Table, TypedValue, pack, unpack

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence


class Sandbox(NamedTuple):
    """A sandbox's record; ``sandboxer`` names the controller that runs it."""

    id: str
    runtime_name: str = ""
    runtime_options: TypedValue | None = None
    spec: TypedValue | None = None
    labels: Mapping[str, str] = {}
    extensions: Mapping[str, TypedValue] = {}
    sandboxer: str = ""
    created_at: int = 0
    updated_at: int = 0


class SandboxStore(Table[Sandbox]):
    """The sandboxes of each namespace, by id."""

    table, key_column, noun = "sandboxes", "id", "sandbox"

    def create(self, namespace: str, sandbox: Sandbox) -> Sandbox:
        """Add a sandbox; its times are set here. Raises AlreadyExists, InvalidArgument."""
        time = records.now()
        sandbox = _checked(sandbox)._replace(created_at=time, updated_at=time)
        self.insert(namespace, sandbox)
        return sandbox

    def update(self, namespace: str, sandbox: Sandbox, fieldpaths: Sequence[str] = ()) -> Sandbox:
        """Replace the fields named (``labels``, ``labels.<key>``, ``extensions``, ``extensions.<key>``,
        ``spec``), or all of these; raises NotFound."""
        with self.db.transaction():
            old = self.get(namespace, sandbox.id)
            new = old
            for path in fieldpaths or ("labels", "extensions", "spec"):
                new = _masked(new, sandbox, path)
            new = _checked(new)._replace(updated_at=records.now())
            self.replace(namespace, new)
        return new

    def encode(self, record: Sandbox) -> dict[str, Any]:
        return {
            "id": record.id,
            "runtime_name": record.runtime_name,
            "runtime_options": records.dump(pack(record.runtime_options)),
            "spec": records.dump(pack(record.spec)),
            "labels": records.dump(record.labels),
            "extensions": records.dump({k: pack(v) for k, v in record.extensions.items()}),
            "sandboxer": record.sandboxer,
            "created_at": record.created_at,
            "updated_at": record.updated_at,
        }

    def decode(self, row: sqlite3.Row) -> Sandbox:
        return Sandbox(
            id=row["id"],
            runtime_name=row["runtime_name"],
            runtime_options=unpack(records.load(row["runtime_options"])),
            spec=unpack(records.load(row["spec"])),
            labels=records.load(row["labels"]),
            extensions=records.unpack_all(records.load(row["extensions"])),
            sandboxer=row["sandboxer"],
            created_at=row["created_at"],
            updated_at=row["updated_at"],
        )

    def field(self, record: Sandbox, path: Sequence[str]) -> str | None:
        if path[0] == "labels":
            return filters.labels_field(record.labels, path)
        return {
            ("id",): record.id,
            ("runtime", "name"): record.runtime_name,
            ("sandboxer",): record.sandboxer,
        }.get(tuple(path))


def _checked(sandbox: Sandbox) -> Sandbox:
    records.check_identifier(sandbox.id, "invalid sandbox ID")
    if not sandbox.runtime_name:
        raise InvalidArgument("sandbox.Runtime.Name must be set")
    if "" in sandbox.extensions:
        raise InvalidArgument("sandbox.Extension keys must not be zero-length")
    return sandbox._replace(labels=records.check_labels(sandbox.labels))


def _masked(old: Sandbox, new: Sandbox, path: str) -> Sandbox:
    if path == "spec":
        return old._replace(spec=new.spec)
    if path == "extensions" or path.startswith("extensions."):
        return old._replace(extensions=records.update_map(old.extensions, new.extensions, path))
    what = f'sandbox "{old.id}"'
    return old._replace(labels=records.update_labels(old.labels, new.labels, (path,), what))
