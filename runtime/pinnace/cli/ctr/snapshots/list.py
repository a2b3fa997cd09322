"""``ctr snapshots list``: the snapshots of a namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema import snapshots
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import table
from pinnace.cli.ctr.flags import SNAPSHOTTER_FLAG

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "[flags] [<filter>, ...]"
FLAGS: tuple[Flag, ...] = (SNAPSHOTTER_FLAG,)
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
    rows = [
        f"{info.name}\t{info.parent}\t{KINDS.get(info.kind, 'Unknown')}\t"
        for answer in answers
        for info in answer.info
    ]
    table(["KEY\tPARENT\tKIND\t", *rows], minimum=1, padding=1)
    return 0
