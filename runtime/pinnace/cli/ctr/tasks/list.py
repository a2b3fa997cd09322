"""``ctr tasks list``: the tasks of a namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema import tasktypes
from pinnace.api.schema.tasks import ListTasksRequest, Tasks
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import FORMAT, json_out, lines, table, wants_json
from pinnace.cli.options import Flag, switch

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags]"
FLAGS: tuple[Flag, ...] = (switch("quiet", "q", about="print only the container ids"), FORMAT)
STATUS = {
    tasktypes.STATUS_UNKNOWN: "UNKNOWN",
    tasktypes.STATUS_CREATED: "CREATED",
    tasktypes.STATUS_RUNNING: "RUNNING",
    tasktypes.STATUS_STOPPED: "STOPPED",
    tasktypes.STATUS_PAUSED: "PAUSED",
    tasktypes.STATUS_PAUSING: "PAUSING",
}


def run(call: Call) -> int:
    with Client.of(call) as client:
        found = client.call(Tasks.list, ListTasksRequest()).tasks
    if call.on("quiet"):
        lines(each.id for each in found)
        return 0
    if wants_json(call):
        json_out(
            [
                {
                    "id": each.id,
                    "pid": each.pid,
                    "status": STATUS.get(each.status, str(each.status)),
                }
                for each in found
            ]
        )
        return 0
    rows = [f"{each.id}\t{each.pid}\t{STATUS.get(each.status, each.status)}" for each in found]
    table(["TASK\tPID\tSTATUS\t", *rows])
    return 0
