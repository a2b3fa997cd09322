"""Unpacked layers held against their blobs through the daemon's API, and unpacked again where they differ."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from pinnace.api.schema import snapshots as snapshots_api
from pinnace.api.schema.containers import Containers, ListContainersRequest
from pinnace.api.schema.content import Content, ReadContentRequest
from pinnace.cli import containers, unpack
from pinnace.errors import Error, FailedPrecondition
from pinnace.images import verify
from pinnace.images.diff import mounted
from pinnace.spec.image import chain_ids

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pinnace.cli.client import Client
    from pinnace.cli.images import Contents
    from pinnace.images.verify import Fault
    from pinnace.spec.digest import Digest

_COMMITTED = 3  # containerd.services.snapshots.v1.Kind


class Damage(NamedTuple):
    """A snapshot that is not its layer any more."""

    layer: Digest
    snapshot: str
    faults: list[Fault]


class Verifier:
    """Looks at each snapshot once, however many images stand on it."""

    def __init__(self, client: Client, snapshotter: str) -> None:
        self._client = client
        self._snapshotter = snapshotter
        self._known: dict[str, Damage] = {}

    def image(self, contents: Contents) -> list[Damage]:
        """The damaged snapshots of an image, the lowest first; of those that are there."""
        found = []
        layers, diff_ids = contents.manifest.layers, contents.config.diff_ids
        for layer, diff_id, chain in zip(layers, diff_ids, chain_ids(diff_ids), strict=True):
            name = str(chain)
            if not unpack.exists(self._client, self._snapshotter, name):
                break
            if name not in self._known:
                faults = self._faults(layer.digest, diff_id, name)
                self._known[name] = Damage(layer.digest, name, faults)
            if self._known[name].faults:
                found.append(self._known[name])
        return found

    def forget(self) -> None:
        """Look at everything again."""
        self._known.clear()

    def _faults(self, layer: Digest, diff_id: Digest, chain: str) -> list[Fault]:
        key = f"verify-{os.urandom(6).hex()} {chain}"
        request = snapshots_api.ViewSnapshotRequest(
            snapshotter=self._snapshotter, key=key, parent=chain
        )
        with containers.leased(self._client):
            view = self._client.call(snapshots_api.Snapshots.view, request)
            try:
                with mounted(containers.mounts_of(view.mounts)) as root:
                    found = verify.compare(_Blob(self._client, layer), root)
            except Error as problem:
                return [verify.described(problem)]
            finally:
                containers.discard(self._client, self._snapshotter, key)
        if found.diff_id != diff_id:
            return [verify.described(Error(f"blob {layer} is damaged: pull the image again"))]
        return found.faults


class _Blob:
    """A blob as a stream."""

    def __init__(self, client: Client, digest: Digest) -> None:
        self._parts = self._read(client, digest)
        self._rest = b""

    @staticmethod
    def _read(client: Client, digest: Digest) -> Iterator[bytes]:
        for answer in client.read(Content.read, ReadContentRequest(digest=str(digest))):
            yield answer.data

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            return self._rest + b"".join(self._parts)
        if not self._rest:
            self._rest = next(self._parts, b"")
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


def repair(client: Client, snapshotter: str, damaged: list[Damage], images: list[Contents]) -> None:
    """Remove damaged snapshots with those that stand on them, and unpack *images* again.

    Raises FailedPrecondition while a container stands on one of them, before anything is removed.
    """
    wrong = _with_children(client, snapshotter, {each.snapshot for each in damaged})
    unpacked = [each for each in images if unpack.exists(client, snapshotter, each.chain_id)]
    with containers.leased(client):
        for name in wrong:
            containers.remove_snapshot(client, snapshotter, name)
        for contents in unpacked:
            unpack.ensure(client, contents, snapshotter)


def _with_children(client: Client, snapshotter: str, names: set[str]) -> list[str]:
    """The snapshots and all that stand on them, the topmost first."""
    request = snapshots_api.ListSnapshotsRequest(snapshotter=snapshotter)
    infos = [
        info for page in client.read(snapshots_api.Snapshots.list, request) for info in page.info
    ]
    children: dict[str, list[snapshots_api.Info]] = {}
    for info in infos:
        children.setdefault(info.parent, []).append(info)
    order: list[str] = []
    todo = sorted(names)
    while todo:
        name = todo.pop(0)
        if name in order:  # reached from below, too: it goes with the later of both
            order.remove(name)
        order.append(name)
        for child in children.get(name, ()):
            if child.kind != _COMMITTED:
                raise _in_use(client, child.name)
            todo.append(child.name)
    return list(reversed(order))


def _in_use(client: Client, key: str) -> FailedPrecondition:
    found = client.call(Containers.list, ListContainersRequest()).containers
    names = [each.id for each in found if each.snapshot_key == key]
    who = f"container {', '.join(names)}" if names else f"snapshot {key!r}"
    return FailedPrecondition(
        f"{who} stands on a damaged layer: nothing was repaired",
        hint="delete it (what it wrote goes with it: ctr container checkpoint or ctr images export saves it), then --repair",
    )
