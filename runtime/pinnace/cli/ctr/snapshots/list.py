"""``ctr snapshots list``: the snapshots of a namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema import snapshots
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import FORMAT, json_out, rfc3339, table, wants_json
from pinnace.cli.ctr.flags import SNAPSHOTTER_FLAG

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "[flags] [<filter>, ...]"
FLAGS: tuple[Flag, ...] = (SNAPSHOTTER_FLAG, FORMAT)
KINDS = {
    snapshots.KIND_VIEW: "View",
    snapshots.KIND_ACTIVE: "Active",
    snapshots.KIND_COMMITTED: "Committed",
}


def run(call: Call) -> int:
    request = snapshots.ListSnapshotsRequest(
        snapshotter=call.text("snapshotter"), filters=call.args
    )
    with Client.of(call) as client:
        answers = list(client.read(snapshots.Snapshots.list, request))
    found = [info for answer in answers for info in answer.info]
    if wants_json(call):
        json_out([_document(info) for info in found])
        return 0
    rows = [f"{info.name}\t{info.parent}\t{KINDS.get(info.kind, 'Unknown')}\t" for info in found]
    table(["KEY\tPARENT\tKIND\t", *rows], minimum=1, padding=1)
    return 0


def _document(info: snapshots.Info) -> dict[str, object]:
    return {
        "key": info.name,
        "parent": info.parent,
        "kind": KINDS.get(info.kind, "Unknown"),
        "labels": dict(sorted(info.labels.items())),
        "created": rfc3339(info.created_at),
    }
