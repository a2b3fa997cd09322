"""What images take on disk, and what of it others use, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pinnace.api.schema import snapshots as snapshots_api
from pinnace.api.schema.content import Content, ListContentRequest
from pinnace.cli import images
from pinnace.spec import image as documents

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pinnace.api.schema.images import Image
    from pinnace.cli.client import Client


class Usage(NamedTuple):
    """Bytes: blobs, unpacked layers; and of both together what deleting only this image would give back."""

    content: int
    snapshots: int
    unique: int

    @property
    def shared(self) -> int:
        return self.content + self.snapshots - self.unique


def chain(client: Client, snapshotter: str, key: str) -> list[tuple[str, int, int]]:
    """A snapshot and those below it: key, bytes and inodes of each alone; raises NotFound."""
    service = snapshots_api.Snapshots
    found = []
    while key:
        used = client.call(
            service.usage, snapshots_api.UsageRequest(snapshotter=snapshotter, key=key)
        )
        found.append((key, used.size, used.inodes))
        request = snapshots_api.StatSnapshotRequest(snapshotter=snapshotter, key=key)
        info = client.call(service.stat, request).info
        key = info.parent if info else ""
    return found


def of_images(client: Client, wanted: Sequence[Image], snapshotter: str) -> list[Usage]:
    """The usage of each image; what two of *wanted* hold is shared."""
    sizes = {
        info.digest: info.size
        for answer in client.read(Content.list, ListContentRequest())
        for info in answer.info
    }
    unpacked = _snapshot_sizes(client, snapshotter)
    held = [_held(client, images.target_of(image), sizes, unpacked) for image in wanted]
    users: dict[str, int] = {}
    for blobs, layers in held:
        for item in (*blobs, *layers):
            users[item] = users.get(item, 0) + 1
    found = []
    for blobs, layers in held:
        unique = sum(sizes[item] for item in blobs if users[item] == 1)
        unique += sum(unpacked[item] for item in layers if users[item] == 1)
        content, space = sum(sizes[item] for item in blobs), sum(unpacked[item] for item in layers)
        found.append(Usage(content, space, unique))
    return found


_SNAPSHOT = "snapshot "
"""Before a snapshot's name: a layer without compression has its blob's digest as its chain id."""


def _snapshot_sizes(client: Client, snapshotter: str) -> dict[str, int]:
    service = snapshots_api.Snapshots
    listed = client.read(service.list, snapshots_api.ListSnapshotsRequest(snapshotter=snapshotter))
    names = [
        info.name
        for answer in listed
        for info in answer.info
        if info.kind == snapshots_api.KIND_COMMITTED
    ]
    return {
        _SNAPSHOT + name: client.call(
            service.usage, snapshots_api.UsageRequest(snapshotter=snapshotter, key=name)
        ).size
        for name in names
    }  # fmt: skip


def _held(
    client: Client, target: documents.Descriptor, sizes: dict[str, int], unpacked: dict[str, int]
) -> tuple[set[str], set[str]]:
    """The blobs and the snapshots that an image keeps, as far as they are here."""
    blobs: set[str] = set()
    layers: set[str] = set()
    todo = [target]
    while todo:
        descriptor = todo.pop()
        digest = str(descriptor.digest)
        if digest not in sizes or digest in blobs:
            continue
        blobs.add(digest)
        kind = descriptor.media_type
        if not (documents.is_index(kind) or documents.is_manifest(kind)):
            continue
        data = images.read_document(client, descriptor)
        kind = documents.media_type_of(documents.parse_document(data), kind)
        if documents.is_index(kind):
            todo += documents.parse_index(data, kind).manifests
            continue
        manifest = documents.parse_manifest(data, kind)
        todo += [manifest.config, *manifest.layers]
        layers |= _snapshots_of(client, manifest, sizes, unpacked)
    return blobs, layers


def _snapshots_of(
    client: Client, manifest: documents.Manifest, sizes: dict[str, int], unpacked: dict[str, int]
) -> set[str]:
    config = manifest.config
    if str(config.digest) not in sizes or not documents.is_config(config.media_type):
        return set()
    limit = documents.MAX_CONFIG_BYTES
    parsed = documents.parse_config(images.read_blob(client, config.digest, config.size, limit))
    names = {_SNAPSHOT + str(each) for each in documents.chain_ids(parsed.diff_ids)}
    return names & unpacked.keys()
