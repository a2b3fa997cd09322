"""Images: names for what is in the content store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pinnace.errors import InvalidArgument, NotFound
from pinnace.spec.digest import Digest
from pinnace.spec.image import Descriptor
from pinnace.store import filters, records
from pinnace.store.leases import add_to_lease
from pinnace.store.records import Table

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence


class Image(NamedTuple):
    """A name and what it means; times are nanoseconds since the epoch."""

    name: str
    target: Descriptor
    labels: Mapping[str, str] = {}
    created_at: int = 0
    updated_at: int = 0


class ImageStore(Table[Image]):
    """The images of each namespace, by name."""

    table, key_column, noun = "images", "name", "image"

    def create(self, namespace: str, image: Image, *, lease: str = "") -> Image:
        """Add an image; its times are set here. Raises AlreadyExists, InvalidArgument."""
        time = records.now()
        image = _checked(image)._replace(created_at=time, updated_at=time)
        with self.db.transaction() as tx:
            self.insert(namespace, image)
            _lease_if_expiring(tx, namespace, lease, image)
        return image

    def update(
        self, namespace: str, image: Image, fieldpaths: Sequence[str] = (), *, lease: str = ""
    ) -> Image:
        """Replace the fields named (``labels``, ``labels.<key>``, ``target``, ``annotations``,
        ``annotations.<key>``), or everything; raises NotFound."""
        if not image.name:
            raise InvalidArgument("image name is required for update")
        with self.db.transaction() as tx:
            old = self.get(namespace, image.name)
            new = _masked(old, image, fieldpaths) if fieldpaths else image
            new = _checked(new)._replace(created_at=old.created_at, updated_at=records.now())
            self.replace(namespace, new)
            _lease_if_expiring(tx, namespace, lease, new)
        return new

    def put(self, namespace: str, image: Image) -> Image:
        """Create the image or point the name at its new target."""
        with self.db.transaction():
            try:
                return self.update(namespace, image)
            except NotFound:
                return self.create(namespace, image)

    def remove(self, namespace: str, name: str, target: str = "") -> None:
        """Delete the name; with *target* only while it means that digest. Raises NotFound."""
        with self.db.transaction():
            if target:
                found = self.get(namespace, name).target.digest
                if found != target:
                    raise NotFound(f'image "{name}" has target {found}, not {target}: not found')
            self.delete(namespace, name)

    def encode(self, record: Image) -> dict[str, Any]:
        return {
            "name": record.name,
            "media_type": record.target.media_type,
            "digest": str(record.target.digest),
            "size": record.target.size,
            "annotations": records.dump(record.target.annotations),
            "labels": records.dump(record.labels),
            "created_at": record.created_at,
            "updated_at": record.updated_at,
        }

    def decode(self, row: sqlite3.Row) -> Image:
        target = Descriptor(
            row["media_type"],
            Digest(row["digest"]),
            row["size"],
            records.load(row["annotations"]),
        )
        labels = records.load(row["labels"])
        return Image(row["name"], target, labels, row["created_at"], row["updated_at"])

    def field(self, record: Image, path: Sequence[str]) -> str | None:
        if path[0] == "labels":
            return filters.labels_field(record.labels, path)
        if path[0] == "annotations":
            return filters.labels_field(record.target.annotations, path)
        return {
            ("name",): record.name,
            ("target", "digest"): str(record.target.digest),
            ("target", "mediatype"): record.target.media_type,
        }.get(tuple(path))


def _checked(image: Image) -> Image:
    if not image.name:
        raise InvalidArgument("image name must not be empty")
    if image.target.size <= 0:
        raise InvalidArgument("Target.Size must be greater than zero")
    if not image.target.media_type:
        raise InvalidArgument("Target.MediaType must be set")
    Digest.parse(image.target.digest)
    return image._replace(labels=records.check_labels(image.labels))


def _masked(old: Image, new: Image, fieldpaths: Sequence[str]) -> Image:
    for path in fieldpaths:
        head, _, key = path.partition(".")
        if path == "target":
            old = old._replace(target=new.target)
        elif head == "annotations":
            annotations = dict(old.target.annotations) if key else dict(new.target.annotations)
            if key:
                annotations[key] = new.target.annotations.get(key, "")
            old = old._replace(target=old.target._replace(annotations=annotations))
        else:
            what = f'image "{old.name}"'
            old = old._replace(labels=records.update_labels(old.labels, new.labels, (path,), what))
    return old


def _lease_if_expiring(tx: sqlite3.Connection, namespace: str, lease: str, image: Image) -> None:
    """An image without an expiry is a root and needs no lease."""
    if lease and "containerd.io/gc.expire" in image.labels:
        add_to_lease(tx, namespace, lease, "images", image.name)
