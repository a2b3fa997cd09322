"""Containers: what should run. Whether it runs is the business of tasks, not kept here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pinnace.errors import InvalidArgument
from pinnace.store import filters, records
from pinnace.store.records import Table, TypedValue, pack, unpack

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence


class Container(NamedTuple):
    """A container's record; ``spec`` is usually an OCI runtime spec as JSON in its typed value."""

    id: str
    spec: TypedValue | None = None
    runtime_name: str = ""
    runtime_options: TypedValue | None = None
    image: str = ""
    labels: Mapping[str, str] = {}
    snapshotter: str = ""
    snapshot_key: str = ""
    extensions: Mapping[str, TypedValue] = {}
    sandbox: str = ""
    created_at: int = 0
    updated_at: int = 0


class ContainerStore(Table[Container]):
    """The containers of each namespace, by id."""

    table, key_column, noun = "containers", "id", "container"

    def create(self, namespace: str, container: Container) -> Container:
        """Add a container; its times are set here. Raises AlreadyExists, InvalidArgument."""
        time = records.now()
        container = _checked(container)._replace(created_at=time, updated_at=time)
        self.insert(namespace, container)
        return container

    def update(
        self, namespace: str, container: Container, fieldpaths: Sequence[str] = ()
    ) -> Container:
        """Replace the fields named (``labels``, ``labels.<key>``, ``spec``, ``image``,
        ``snapshotkey``, ``extensions``, ``extensions.<key>``), or all of these; raises NotFound."""
        if not container.id:
            raise InvalidArgument("must specify a container id")
        with self.db.transaction():
            old = self.get(namespace, container.id)
            if not fieldpaths:
                _refuse_immutable(old, container)
                fieldpaths = ("labels", "spec", "extensions", "image", "snapshotkey")
            new = old
            for path in fieldpaths:
                new = _masked(new, container, path)
            new = _checked(new)._replace(updated_at=records.now())
            self.replace(namespace, new)
        return new

    def missing(self, namespace: str, key: str) -> str:
        return f'container "{key}" in namespace "{namespace}": not found'

    def encode(self, record: Container) -> dict[str, Any]:
        return {
            "id": record.id,
            "image": record.image,
            "labels": records.dump(record.labels),
            "runtime_name": record.runtime_name,
            "runtime_options": records.dump(pack(record.runtime_options)),
            "spec": records.dump(pack(record.spec)),
            "snapshotter": record.snapshotter,
            "snapshot_key": record.snapshot_key,
            "extensions": records.dump({k: pack(v) for k, v in record.extensions.items()}),
            "sandbox": record.sandbox,
            "created_at": record.created_at,
            "updated_at": record.updated_at,
        }

    def decode(self, row: sqlite3.Row) -> Container:
        return Container(
            id=row["id"],
            spec=unpack(records.load(row["spec"])),
            runtime_name=row["runtime_name"],
            runtime_options=unpack(records.load(row["runtime_options"])),
            image=row["image"],
            labels=records.load(row["labels"]),
            snapshotter=row["snapshotter"],
            snapshot_key=row["snapshot_key"],
            extensions=records.unpack_all(records.load(row["extensions"])),
            sandbox=row["sandbox"],
            created_at=row["created_at"],
            updated_at=row["updated_at"],
        )

    def field(self, record: Container, path: Sequence[str]) -> str | None:
        if path[0] == "labels":
            return filters.labels_field(record.labels, path)
        return {
            ("id",): record.id,
            ("image",): record.image,
            ("runtime", "name"): record.runtime_name,
            ("sandbox",): record.sandbox,
            ("sandboxid",): record.sandbox,
        }.get(tuple(path))


def _checked(container: Container) -> Container:
    records.check_identifier(container.id, "create container failed validation: container.ID")
    if "" in container.extensions:
        raise InvalidArgument("container.Extension keys must not be zero-length")
    if not container.runtime_name:
        raise InvalidArgument("container.Runtime.Name must be set")
    if container.spec is None:
        raise InvalidArgument("container.Spec must be set")
    if container.snapshot_key and not container.snapshotter:
        raise InvalidArgument("container.Snapshotter must be set if container.SnapshotKey is set")
    return container._replace(labels=records.check_labels(container.labels))


def _refuse_immutable(old: Container, new: Container) -> None:
    if old.snapshotter != new.snapshotter:
        raise InvalidArgument("container.Snapshotter field is immutable")
    if old.runtime_name != new.runtime_name:
        raise InvalidArgument("container.Runtime.Name field is immutable")


def _masked(old: Container, new: Container, path: str) -> Container:
    if path == "extensions" or path.startswith("extensions."):
        return old._replace(extensions=records.update_map(old.extensions, new.extensions, path))
    if path == "spec":
        return old._replace(spec=new.spec)
    if path == "image":
        return old._replace(image=new.image)
    if path == "snapshotkey":
        return old._replace(snapshot_key=new.snapshot_key)
    what = f'"{old.id}"'
    return old._replace(labels=records.update_labels(old.labels, new.labels, (path,), what))
