"""``ctr sandboxes list``: the sandboxes of a namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema.sandboxes import Store, StoreListRequest
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import FORMAT, json_out, rfc3339, table, wants_json
from pinnace.cli.options import Flag, texts

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags]"
FLAGS: tuple[Flag, ...] = (texts("filters", about="list what this filter matches"), FORMAT)


def run(call: Call) -> int:
    with Client.of(call) as client:
        request = StoreListRequest(filters=call.texts("filters"))
        found = client.call(Store.list, request).list
    rows = [
        (each.sandbox_id, rfc3339(each.created_at), each.runtime.name if each.runtime else "")
        for each in found
    ]
    if wants_json(call):
        json_out([dict(zip(("id", "created", "runtime"), row, strict=True)) for row in rows])
        return 0
    lines = ["\t".join((*row, "")) for row in rows]
    table(["ID\tCREATED\tRUNTIME\t", *lines], minimum=1, padding=1)
    return 0
