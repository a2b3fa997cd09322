"""``ctr leases list``: the leases of a namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema.leases import Leases, ListRequest
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import lines, rfc3339, shown_labels, table
from pinnace.cli.options import Flag, switch

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] [<filter>, ...]"
FLAGS: tuple[Flag, ...] = (switch("quiet", "q", about="print only the lease ids"),)


def run(call: Call) -> int:
    with Client.of(call) as client:
        found = client.call(Leases.list, ListRequest(filters=call.args)).leases
    if call.on("quiet"):
        lines(lease.id for lease in found)
        return 0
    rows = [
        f"{lease.id}\t{rfc3339(lease.created_at)}\t{shown_labels(lease.labels)}\t"
        for lease in found
    ]
    table(["ID\tCREATED AT\tLABELS\t", *rows], minimum=1, padding=1)
    return 0
