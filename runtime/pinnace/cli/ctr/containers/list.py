"""``ctr containers list``: the containers of a namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema.containers import Containers, ListContainersRequest
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import lines, table
from pinnace.cli.options import Flag, switch

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] [<filter>, ...]"
FLAGS: tuple[Flag, ...] = (switch("quiet", "q", about="print only the container ids"),)
DETAILS = 'A filter is id==ID, image==REF or labels."KEY"==VALUE.'


def run(call: Call) -> int:
    with Client.of(call) as client:
        request = ListContainersRequest(filters=call.args)
        found = client.call(Containers.list, request).containers
    if call.on("quiet"):
        lines(each.id for each in found)
        return 0
    rows = [
        f"{each.id}\t{each.image or '-'}\t{each.runtime.name if each.runtime else ''}\t"
        for each in found
    ]
    table(["CONTAINER\tIMAGE\tRUNTIME\t", *rows])
    return 0
