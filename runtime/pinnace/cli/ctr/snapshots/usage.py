"""``ctr snapshots usage``: what snapshots take on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema import snapshots
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import FORMAT, json_out, table, wants_json
from pinnace.cli.ctr.flags import SNAPSHOTTER_FLAG
from pinnace.cli.options import Flag, switch
from pinnace.cli.tables import size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pinnace.cli.options import Call

USAGE = "[flags] [<key>, ...]"
FLAGS: tuple[Flag, ...] = (SNAPSHOTTER_FLAG, switch("b", about="print bytes"), FORMAT)
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
        show(call, [(key, usage_of(client, snapshotter, key)) for key in keys])
    return 0


def usage_of(client: Client, snapshotter: str, key: str) -> snapshots.UsageResponse:
    request = snapshots.UsageRequest(snapshotter=snapshotter, key=key)
    return client.call(snapshots.Snapshots.usage, request)


def show(call: Call, found: Sequence[tuple[str, snapshots.UsageResponse]]) -> None:
    """Print what each snapshot takes, by ``--format`` and, where there is one, ``-b``."""
    if wants_json(call):
        json_out([{"key": key, "size": each.size, "inodes": each.inodes} for key, each in found])
        return
    shown = str if call.has("b") and call.on("b") else size
    rows = [f"{key}\t{shown(each.size)}\t{each.inodes}\t" for key, each in found]
    table(["KEY\tSIZE\tINODES\t", *rows], minimum=1, padding=1)
