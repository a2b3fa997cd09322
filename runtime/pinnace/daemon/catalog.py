"""Images, containers, namespaces, content and snapshots: the stores, with their events.

Whoever changes one of these does it here (the gRPC services, and CRI), so that an event follows
every change and the garbage collector hears of what became free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.store.store import DEFAULT_SNAPSHOTTER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pinnace.daemon.collector import Collector
    from pinnace.daemon.events import Exchange
    from pinnace.linux.mount import Mount
    from pinnace.store.containers import Container
    from pinnace.store.content import Writer
    from pinnace.store.images import Image
    from pinnace.store.store import Store


class Catalog:
    """Changes to what the daemon keeps; reading goes to the stores directly."""

    def __init__(self, store: Store, events: Exchange, collector: Collector) -> None:
        self._store = store
        self._events = events
        self._collector = collector

    # --- namespaces --------------------------------------------------------------------------

    def create_namespace(self, name: str, labels: Mapping[str, str]) -> dict[str, str]:
        """Raises AlreadyExists, InvalidArgument."""
        found = self._store.namespaces.create(name, labels)
        self._events.publish(name, "/namespaces/create", name=name, labels=dict(found))
        return found

    def update_namespace(
        self, name: str, labels: Mapping[str, str], fieldpaths: Sequence[str]
    ) -> dict[str, str]:
        """Raises NotFound."""
        found = self._store.namespaces.update(name, labels, fieldpaths)
        self._events.publish(name, "/namespaces/update", name=name, labels=dict(found))
        return found

    def delete_namespace(self, name: str) -> None:
        """Raises NotFound, FailedPrecondition while it holds anything."""
        self._store.namespaces.delete(name)
        self._events.publish(name, "/namespaces/delete", name=name)

    # --- images ------------------------------------------------------------------------------

    def create_image(self, namespace: str, image: Image, *, lease: str = "") -> Image:
        """Raises AlreadyExists, InvalidArgument."""
        found = self._store.images.create(namespace, image, lease=lease)
        self._events.publish(
            namespace, "/images/create", name=found.name, labels=dict(found.labels)
        )
        return found

    def update_image(
        self, namespace: str, image: Image, fieldpaths: Sequence[str] = (), *, lease: str = ""
    ) -> Image:
        """Raises NotFound, InvalidArgument."""
        found = self._store.images.update(namespace, image, fieldpaths, lease=lease)
        self._events.publish(
            namespace, "/images/update", name=found.name, labels=dict(found.labels)
        )
        self._collector.changed()
        return found

    def delete_image(
        self, namespace: str, name: str, *, target: str = "", sync: bool = False
    ) -> None:
        """Raises NotFound. With ``sync`` what became free has been removed on return."""
        self._store.images.remove(namespace, name, target)
        self._events.publish(namespace, "/images/delete", name=name)
        self._collector.freed(sync=sync)

    # --- containers --------------------------------------------------------------------------

    def create_container(self, namespace: str, container: Container) -> Container:
        """Raises AlreadyExists, InvalidArgument."""
        found = self._store.containers.create(namespace, container)
        runtime = {"name": found.runtime_name, "options": found.runtime_options}
        self._events.publish(
            namespace, "/containers/create", id=found.id, image=found.image, runtime=runtime
        )
        return found

    def update_container(
        self, namespace: str, container: Container, fieldpaths: Sequence[str]
    ) -> Container:
        """Raises NotFound, InvalidArgument."""
        found = self._store.containers.update(namespace, container, fieldpaths)
        self._events.publish(
            namespace,
            "/containers/update",
            id=found.id,
            image=found.image,
            labels=dict(found.labels),
            snapshot_key=found.snapshot_key,
        )
        return found

    def delete_container(self, namespace: str, identifier: str) -> None:
        """Raises NotFound."""
        self._store.containers.delete(namespace, identifier)
        self._events.publish(namespace, "/containers/delete", id=identifier)
        self._collector.freed()

    # --- content -----------------------------------------------------------------------------

    def commit_content(
        self, namespace: str, writer: Writer, size: int, expected: str, labels: Mapping[str, str]
    ) -> str:
        """Finish a write; the digest. Raises as ``Writer.commit`` does."""
        digest = writer.commit(size, expected, labels)
        self._events.publish(namespace, "/content/create", digest=str(digest), size=writer.offset)
        return str(digest)

    def delete_content(self, namespace: str, digest: str) -> None:
        """Raises NotFound."""
        self._store.content.delete(namespace, digest)
        self._events.publish(namespace, "/content/delete", digest=digest)
        self._collector.changed()

    # --- snapshots ---------------------------------------------------------------------------

    def prepare_snapshot(
        self,
        namespace: str,
        snapshotter: str,
        key: str,
        parent: str,
        labels: Mapping[str, str],
        *,
        lease: str = "",
    ) -> list[Mount]:
        """Raises NotFound, AlreadyExists, InvalidArgument."""
        backend = self._store.snapshotter(snapshotter)
        mounts = backend.prepare(namespace, key, parent, labels, lease=lease)
        self._publish_snapshot(namespace, snapshotter, "prepare", key=key, parent=parent)
        return mounts

    def commit_snapshot(
        self,
        namespace: str,
        snapshotter: str,
        name: str,
        key: str,
        labels: Mapping[str, str],
        *,
        lease: str = "",
    ) -> None:
        """Raises NotFound, AlreadyExists, FailedPrecondition."""
        backend = self._store.snapshotter(snapshotter)
        backend.commit(namespace, name, key, labels, lease=lease)
        self._publish_snapshot(namespace, snapshotter, "commit", key=key, name=name)

    def remove_snapshot(self, namespace: str, snapshotter: str, key: str) -> None:
        """Raises NotFound, FailedPrecondition while others stand on it."""
        self._store.snapshotter(snapshotter).remove(namespace, key)
        self._publish_snapshot(namespace, snapshotter, "remove", key=key)
        self._collector.changed()

    def _publish_snapshot(
        self, namespace: str, snapshotter: str, what: str, **fields: object
    ) -> None:
        name = snapshotter or DEFAULT_SNAPSHOTTER
        self._events.publish(namespace, f"/snapshot/{what}", snapshotter=name, **fields)
