"""``ctr snapshots usage``: what snapshots take on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema import snapshots
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import table
from pinnace.cli.ctr.flags import SNAPSHOTTER_FLAG
from pinnace.cli.options import Flag, switch
from pinnace.cli.tables import size

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] [<key>, ...]"
FLAGS: tuple[Flag, ...] = (SNAPSHOTTER_FLAG, switch("b", about="print bytes"))
DETAILS = "Without a key: all snapshots."


def run(call: Call) -> int:
    snapshotter = call.text("snapshotter")
    service = snapshots.Snapshots
    with Client.of(call) as client:
        keys = call.args or [
            info.name
            for answer in client.read(
                service.list, snapshots.ListSnapshotsRequest(snapshotter=snapshotter)
            )
            for info in answer.info
        ]
        rows = []
        for key in keys:
            request = snapshots.UsageRequest(snapshotter=snapshotter, key=key)
            usage = client.call(service.usage, request)
            amount = str(usage.size) if call.on("b") else size(usage.size)
            rows.append(f"{key}\t{amount}\t{usage.inodes}\t")
    table(["KEY\tSIZE\tINODES\t", *rows], minimum=1, padding=1)
    return 0
