"""``ctr containers list``: the containers of a namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema.containers import Container, Containers, ListContainersRequest
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import FORMAT, json_out, lines, rfc3339, table, wants_json
from pinnace.cli.options import Flag, switch

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] [<filter>, ...]"
FLAGS: tuple[Flag, ...] = (switch("quiet", "q", about="print only the container ids"), FORMAT)
DETAILS = 'A filter is id==ID, image==REF or labels."KEY"==VALUE.'


def run(call: Call) -> int:
    with Client.of(call) as client:
        request = ListContainersRequest(filters=call.args)
        found = client.call(Containers.list, request).containers
    if call.on("quiet"):
        lines(each.id for each in found)
        return 0
    if wants_json(call):
        json_out([_document(each) for each in found])
        return 0
    rows = [
        f"{each.id}\t{each.image or '-'}\t{each.runtime.name if each.runtime else ''}\t"
        for each in found
    ]
    table(["CONTAINER\tIMAGE\tRUNTIME\t", *rows])
    return 0


def _document(each: Container) -> dict[str, object]:
    return {
        "id": each.id,
        "image": each.image,
        "runtime": each.runtime.name if each.runtime else "",
        "snapshotter": each.snapshotter,
        "snapshot": each.snapshot_key,
        "labels": dict(sorted(each.labels.items())),
        "created": rfc3339(each.created_at),
    }
