"""The garbage collector: what nothing refers to is removed; labels say what refers to what.

Rules (containerd's docs/garbage-collection.md):

* roots: images, containers, what leases hold, and what is labelled ``containerd.io/gc.root`` or,
  until then, ``containerd.io/gc.expire``; a lease or an image that expired is no root;
* an image refers to its target, a container to its snapshot, a snapshot to its parent;
* ``containerd.io/gc.ref.{content,snapshot.<name>,image}`` labels refer forward,
  ``containerd.io/gc.bref.*`` labels refer back: the thing lives as long as what it names;
* a lease labelled ``containerd.io/gc.flat`` holds what it lists, not what that refers to.

Promise: marking and forgetting happen in one transaction, while no content can be committed, so
nothing reachable is ever removed; files go after the records that named them are gone for good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pinnace.errors import Error, Unavailable
from pinnace.spec.digest import Digest
from pinnace.store import records
from pinnace.store.leases import EXPIRE_LABEL, FLAT_LABEL

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping

    from pinnace.store.content import ContentStore
    from pinnace.store.metadata import Database
    from pinnace.store.snapshots import Snapshotter

_ROOT = "containerd.io/gc.root"
_REF = "containerd.io/gc.ref."
_BACK = "containerd.io/gc.bref."


class Node(NamedTuple):
    """A thing in a namespace; kinds as leases name them: content, images, snapshots/overlayfs."""

    kind: str
    namespace: str
    id: str


class Stats(NamedTuple):
    """What one collection removed."""

    content: int = 0
    snapshots: int = 0
    images: int = 0
    leases: int = 0
    ingests: int = 0
    bytes: int = 0


def collect(db: Database, content: ContentStore, snapshotters: Mapping[str, Snapshotter]) -> Stats:
    """Remove what nothing refers to. Raises what the disk raises; the store stays valid."""
    with content.lock:
        # Before the records are read, as an ingest has its record first: one that begins meanwhile is not lost.
        begun = content.blobs.ingests()
        with db.transaction() as tx:
            graph = _Graph(tx)
            marked = graph.mark()
            dead = [node for node in graph.things if node not in marked]
            directories = _forget(tx, dead, snapshotters)
            known = {Digest(row[0]) for row in tx.execute("SELECT DISTINCT digest FROM content")}
            refs = {
                f"{row['namespace']}/{row['ref']}"
                for row in tx.execute("SELECT namespace, ref FROM ingests")
            }
        db.collected_at = graph.now
        on_disk = {*content.blobs.walk(), *content.blobs.damaged()}
        freed = content.sweep(sorted(on_disk - known))
        ingests = _abort_lost(content, set(begun) - refs)
    for snapshotter, number in directories:
        snapshotter.remove_directory(number)
    count = _counts(dead)
    return Stats(
        count.get("content", 0),
        len(directories),
        count.get("images", 0),
        count.get("leases", 0),
        ingests,
        freed,
    )


def next_expiry(db: Database) -> float | None:
    """When the next thing expires that no collection has seen expired: seconds since the epoch.

    It may lie in the past; None when nothing will expire.
    """
    times = []
    with db.read() as tx:
        for table in ("leases", "images", "content", "snapshots"):
            rows = tx.execute(
                f"SELECT labels FROM {table} WHERE labels LIKE ?",  # noqa: S608 (our constants)
                (f"%{EXPIRE_LABEL}%",),
            )
            for row in rows:
                times.append(parse_time(records.load(row["labels"]).get(EXPIRE_LABEL, "")))
        times += [row[0] for row in tx.execute("SELECT expire_at FROM ingests WHERE expire_at")]
    ahead = [time for time in times if time is not None and time > db.collected_at]
    return min(ahead) / 1e9 if ahead else None


def _counts(nodes: list[Node]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for node in nodes:
        counts[node.kind] = counts.get(node.kind, 0) + 1
    return counts


def _forget(
    tx: sqlite3.Connection, dead: list[Node], snapshotters: Mapping[str, Snapshotter]
) -> list[tuple[Snapshotter, int]]:
    """Delete the records of *dead*; the snapshot directories that are free then."""
    directories = []
    for kind, namespace, identifier in dead:
        if kind.startswith("snapshots/"):
            name = kind.partition("/")[2]
            row = tx.execute(
                "DELETE FROM snapshots WHERE namespace=? AND snapshotter=? AND key=?"
                " RETURNING number",
                (namespace, name, identifier),
            ).fetchone()
            if row is not None and name in snapshotters:
                directories.append((snapshotters[name], int(row["number"])))
            continue
        statement = _DELETE.get(kind)
        if statement:
            tx.execute(statement, (namespace, identifier))
        if kind == "leases":
            tx.execute(
                "DELETE FROM lease_resources WHERE namespace=? AND lease=?", (namespace, identifier)
            )
    return directories


_DELETE = {
    "content": "DELETE FROM content WHERE namespace=? AND digest=?",
    "images": "DELETE FROM images WHERE namespace=? AND name=?",
    "leases": "DELETE FROM leases WHERE namespace=? AND id=?",
    "ingests": "DELETE FROM ingests WHERE namespace=? AND ref=?",
}


def _abort_lost(content: ContentStore, lost: set[str]) -> int:
    """Remove unfinished ingests that have no record (any more)."""
    aborted = 0
    for ref in sorted(lost):
        try:
            content.blobs.abort(ref)
        except Unavailable:
            continue  # being written just now
        except Error:
            continue  # gone meanwhile
        aborted += 1
    return aborted


class _Graph:
    """Everything in the database, as nodes with references."""

    def __init__(self, tx: sqlite3.Connection) -> None:
        self.things: dict[Node, tuple[Node, ...]] = {}
        self.now = records.now()
        self._roots: list[Node] = []
        self._flat: list[Node] = []
        self._back: dict[Node, list[Node]] = {}
        self._images(tx)
        self._containers(tx)
        self._content(tx)
        self._snapshots(tx)
        self._ingests(tx)
        self._leases(tx)

    def mark(self) -> set[Node]:
        """Everything that can be reached from the roots."""
        marked: set[Node] = set()
        todo = list(self._roots)
        while todo:
            node = todo.pop()
            if node in marked:
                continue
            marked.add(node)
            todo.extend(self.things.get(node, ()))
            todo.extend(self._back.get(node, ()))
        marked.update(self._flat)
        for node in self._flat:  # a snapshot cannot be without its parents
            while node.kind.startswith("snapshots/") and self.things.get(node):
                parents = [n for n in self.things[node] if n.kind == node.kind]
                if not parents:
                    break
                node = parents[0]
                marked.add(node)
        return marked

    def _add(self, node: Node, labels: Mapping[str, str], *references: Node) -> None:
        self.things[node] = (*references, *self._references(node.namespace, labels))
        if _ROOT in labels:
            self._roots.append(node)
        for parent in _back_references(node.namespace, labels):
            self._back.setdefault(parent, []).append(node)

    def _references(self, namespace: str, labels: Mapping[str, str]) -> Iterator[Node]:
        for key, value in labels.items():
            if not key.startswith(_REF):
                continue
            kind = _kind(key[len(_REF) :])
            if kind:
                yield Node(kind, namespace, value)

    def _unexpired(self, labels: Mapping[str, str]) -> bool | None:
        """Whether there is an expiry that lies ahead; None without one."""
        text = labels.get(EXPIRE_LABEL)
        until = parse_time(text) if text else None
        return None if until is None else until > self.now

    def _images(self, tx: sqlite3.Connection) -> None:
        for row in tx.execute("SELECT namespace, name, digest, labels FROM images"):
            labels = records.load(row["labels"])
            node = Node("images", row["namespace"], row["name"])
            self._add(node, labels, Node("content", row["namespace"], row["digest"]))
            if self._unexpired(labels) is not False:
                self._roots.append(node)

    def _containers(self, tx: sqlite3.Connection) -> None:
        for row in tx.execute(
            "SELECT namespace, id, snapshotter, snapshot_key, labels FROM containers"
        ):
            node = Node("containers", row["namespace"], row["id"])
            held = Node(f"snapshots/{row['snapshotter']}", row["namespace"], row["snapshot_key"])
            self._add(node, records.load(row["labels"]), held)
            self._roots.append(node)

    def _content(self, tx: sqlite3.Connection) -> None:
        for row in tx.execute("SELECT namespace, digest, labels FROM content"):
            labels = records.load(row["labels"])
            node = Node("content", row["namespace"], row["digest"])
            self._add(node, labels)
            if self._unexpired(labels):
                self._roots.append(node)

    def _snapshots(self, tx: sqlite3.Connection) -> None:
        for row in tx.execute("SELECT namespace, snapshotter, key, parent, labels FROM snapshots"):
            labels = records.load(row["labels"])
            kind = f"snapshots/{row['snapshotter']}"
            node = Node(kind, row["namespace"], row["key"])
            parent = [Node(kind, row["namespace"], row["parent"])] if row["parent"] else []
            self._add(node, labels, *parent)
            if self._unexpired(labels):
                self._roots.append(node)

    def _ingests(self, tx: sqlite3.Connection) -> None:
        for row in tx.execute("SELECT namespace, ref, expected, expire_at FROM ingests"):
            node = Node("ingests", row["namespace"], row["ref"])
            expected = (
                [Node("content", row["namespace"], row["expected"])] if row["expected"] else []
            )
            self._add(node, {}, *expected)
            if row["expire_at"] > self.now:
                self._roots.append(node)

    def _leases(self, tx: sqlite3.Connection) -> None:
        flat = {}
        for row in tx.execute("SELECT namespace, id, labels FROM leases"):
            labels = records.load(row["labels"])
            node = Node("leases", row["namespace"], row["id"])
            self.things[node] = ()
            if self._unexpired(labels) is not False:
                self._flat.append(node)
                flat[node] = FLAT_LABEL in labels
        for row in tx.execute("SELECT namespace, lease, type, id FROM lease_resources"):
            lease = Node("leases", row["namespace"], row["lease"])
            if lease in flat:
                held = Node(row["type"], row["namespace"], row["id"])
                (self._flat if flat[lease] else self._roots).append(held)


def _back_references(namespace: str, labels: Mapping[str, str]) -> Iterator[Node]:
    for key, value in labels.items():
        if key.startswith(_BACK):
            rest = key[len(_BACK) :]
            kind = "containers" if _is(rest, "container") else _kind(rest)
            if kind:
                yield Node(kind, namespace, value)


def _is(rest: str, name: str) -> bool:
    """A label may carry a name of its own behind a dot or slash: ``content.l.0``."""
    return rest == name or rest.startswith((f"{name}.", f"{name}/"))


def _kind(rest: str) -> str:
    """The kind that the rest of a reference label names; nothing for an unknown one."""
    if _is(rest, "content"):
        return "content"
    if _is(rest, "image"):
        return "images"
    if rest.startswith("snapshot."):
        return f"snapshots/{rest[len('snapshot.') :].partition('/')[0]}"
    return ""


def parse_time(text: str) -> int | None:
    """RFC 3339 as nanoseconds since the epoch; None when it is malformed (then nothing expires)."""
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000) * 1_000_000
