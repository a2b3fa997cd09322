"""``ctr snapshots view``: a read-only snapshot of a committed one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema.snapshots import Snapshots, ViewSnapshotRequest
from pinnace.cli.client import Client
from pinnace.cli.ctr.flags import SNAPSHOTTER_FLAG
from pinnace.cli.ctr.snapshots.mounting import print_commands, print_json
from pinnace.cli.options import Flag, switch, text
from pinnace.errors import InvalidArgument

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] <key> [<parent>]"
FLAGS: tuple[Flag, ...] = (
    text("target", "t", about="print the commands that mount it there"),
    switch("mounts", about="print its mounts as JSON"),
    SNAPSHOTTER_FLAG,
)


def run(call: Call) -> int:
    key = call.argument(0, "please specify a snapshot key")
    if len(call.args) > 2:
        raise InvalidArgument("a key and at most one parent are expected")
    request = ViewSnapshotRequest(
        snapshotter=call.text("snapshotter"),
        key=key,
        parent="".join(call.args[1:]),
    )
    with Client.of(call) as client:
        mounts = client.call(Snapshots.view, request).mounts
    if call.text("target"):
        print_commands(mounts, call.text("target"))
    if call.on("mounts"):
        print_json(mounts)
    return 0
