"""``ctr snapshots info``: everything recorded about a snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema.snapshots import Snapshots, StatSnapshotRequest
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import json_out, rfc3339
from pinnace.cli.ctr.flags import SNAPSHOTTER_FLAG
from pinnace.cli.ctr.snapshots.list import KINDS
from pinnace.errors import NotFound

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "<key>"
FLAGS: tuple[Flag, ...] = (SNAPSHOTTER_FLAG,)


def run(call: Call) -> int:
    key = call.only_argument("please specify a snapshot")
    request = StatSnapshotRequest(snapshotter=call.text("snapshotter"), key=key)
    with Client.of(call) as client:
        info = client.call(Snapshots.stat, request).info
    if info is None:
        raise NotFound(f"snapshot {key}: not found")
    shown: dict[str, object] = {"Kind": KINDS.get(info.kind, "Unknown"), "Name": info.name}
    if info.parent:
        shown["Parent"] = info.parent
    if info.labels:
        shown["Labels"] = dict(sorted(info.labels.items()))
    shown |= {"Created": rfc3339(info.created_at), "Updated": rfc3339(info.updated_at)}
    json_out(shown)
    return 0
