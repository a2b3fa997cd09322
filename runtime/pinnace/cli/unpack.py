"""Layers into snapshots through the daemon's API, for an image that was stored without unpacking.

Pull and import unpack in the daemon; this is the other way, as containerd's client does it: for each layer
Prepare, Diff.Apply, Commit under the layer's chain id.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pinnace.api.schema import content as content_api
from pinnace.api.schema import snapshots as snapshots_api
from pinnace.api.schema.diff import ApplyRequest, Diff
from pinnace.api.schema.types import Descriptor
from pinnace.api.schema.wellknown import FieldMask
from pinnace.errors import AlreadyExists, DataLoss, NotFound
from pinnace.spec.image import chain_ids

if TYPE_CHECKING:
    from pinnace.cli.client import Client
    from pinnace.cli.images import Contents
    from pinnace.spec import image as documents


def ensure(client: Client, contents: Contents, snapshotter: str, *, sync_fs: bool = False) -> None:
    """Make the snapshots of an image's layers, unless they are there.

    Raises:
        DataLoss: a layer is not what the image's config says.
    """
    if not contents.chain_id or exists(client, snapshotter, contents.chain_id):
        return
    parent = ""
    layers = contents.manifest.layers
    for layer, diff_id, chain_id in zip(
        layers, contents.config.diff_ids, chain_ids(contents.config.diff_ids), strict=True
    ):
        if not exists(client, snapshotter, str(chain_id)):
            _apply(client, snapshotter, layer, str(diff_id), str(chain_id), parent, sync_fs)
        parent = str(chain_id)
    _refer(client, contents, snapshotter)


def exists(client: Client, snapshotter: str, key: str) -> bool:
    """Whether there is a snapshot called ``key``."""
    request = snapshots_api.StatSnapshotRequest(snapshotter=snapshotter, key=key)
    try:
        client.call(snapshots_api.Snapshots.stat, request)
    except NotFound:
        return False
    return True


def _apply(
    client: Client, snapshotter: str, layer: documents.Descriptor, diff_id: str, chain_id: str, parent: str,
    sync_fs: bool,
) -> None:  # fmt: skip
    key = f"extract-{os.urandom(6).hex()} {chain_id}"
    snapshots = snapshots_api.Snapshots
    prepared = client.call(
        snapshots.prepare,
        snapshots_api.PrepareSnapshotRequest(snapshotter=snapshotter, key=key, parent=parent),
    )
    remove = snapshots_api.RemoveSnapshotRequest(snapshotter=snapshotter, key=key)
    try:
        diff = Descriptor(media_type=layer.media_type, digest=str(layer.digest), size=layer.size)
        request = ApplyRequest(diff=diff, mounts=prepared.mounts, sync_fs=sync_fs)
        applied = client.call(Diff.apply, request).applied
        if applied is None or applied.digest != diff_id:
            raise DataLoss(f"layer {layer.digest} does not unpack to {diff_id} as the image says")
    except BaseException:
        client.call(snapshots.remove, remove)
        raise
    commit = snapshots_api.CommitSnapshotRequest(snapshotter=snapshotter, name=chain_id, key=key)
    try:
        client.call(snapshots.commit, commit)
    except AlreadyExists:
        client.call(snapshots.remove, remove)  # somebody else was faster


def _refer(client: Client, contents: Contents, snapshotter: str) -> None:
    """Label the config so that the collector keeps the snapshot as long as the image."""
    label = f"containerd.io/gc.ref.snapshot.{snapshotter}"
    info = content_api.Info(
        digest=str(contents.manifest.config.digest), labels={label: contents.chain_id}
    )
    mask = FieldMask(paths=[f"labels.{label}"])
    client.call(content_api.Content.update, content_api.UpdateRequest(info=info, update_mask=mask))
