"""``ctr namespaces list``: the daemon's namespaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema.namespaces import ListNamespacesRequest, Namespaces
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import FORMAT, json_out, lines, table, wants_json
from pinnace.cli.options import Flag, switch

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags]"
FLAGS: tuple[Flag, ...] = (switch("quiet", "q", about="print only the names"), FORMAT)


def run(call: Call) -> int:
    with Client.of(call) as client:
        found = client.call(Namespaces.list, ListNamespacesRequest()).namespaces
    if call.on("quiet"):
        lines(each.name for each in found)
        return 0
    if wants_json(call):
        json_out(
            [{"name": each.name, "labels": dict(sorted(each.labels.items()))} for each in found]
        )
        return 0
    rows = []
    for each in found:
        labels = ",".join(f"{key}={value}" for key, value in sorted(each.labels.items()))
        rows.append(f"{each.name}\t{labels}\t")
    table(["NAME\tLABELS\t", *rows], minimum=1, padding=1)
    return 0
