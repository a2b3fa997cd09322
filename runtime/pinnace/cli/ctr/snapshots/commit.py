"""``ctr snapshots commit``: make a committed snapshot of a writable one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema.snapshots import CommitSnapshotRequest, Snapshots
from pinnace.cli.client import Client
from pinnace.cli.ctr.flags import SNAPSHOTTER_FLAG
from pinnace.cli.ctr.snapshots.roots import kept
from pinnace.errors import InvalidArgument

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "<key> <active>"
FLAGS: tuple[Flag, ...] = (SNAPSHOTTER_FLAG,)


def run(call: Call) -> int:
    if len(call.args) != 2:
        raise InvalidArgument("please provide a key and the active snapshot it is made of")
    name, key = call.args
    request = CommitSnapshotRequest(
        snapshotter=call.text("snapshotter"),
        name=name,
        key=key,
        labels=kept(),
    )
    with Client.of(call) as client:
        client.call(Snapshots.commit, request)
    return 0
