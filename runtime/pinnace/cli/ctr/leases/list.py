"""``ctr leases list``: the leases of a namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema.leases import Leases, ListRequest
from pinnace.api.schema.wellknown import Timestamp
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import FORMAT, json_out, lines, rfc3339, shown_labels, table, wants_json
from pinnace.cli.options import Flag, switch

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] [<filter>, ...]"
FLAGS: tuple[Flag, ...] = (switch("quiet", "q", about="print only the lease ids"), FORMAT)


def run(call: Call) -> int:
    with Client.of(call) as client:
        found = client.call(Leases.list, ListRequest(filters=call.args)).leases
    if call.on("quiet"):
        lines(lease.id for lease in found)
        return 0
    if wants_json(call):
        json_out(
            [
                {"id": each.id, "created": rfc3339(each.created_at), "labels": dict(sorted(each.labels.items()))}
                for each in found
            ]
        )  # fmt: skip
        return 0
    rows = [
        f"{lease.id}\t{_seconds(lease.created_at)}\t{shown_labels(lease.labels)}\t"
        for lease in found
    ]
    table(["ID\tCREATED AT\tLABELS\t", *rows], minimum=1, padding=1)
    return 0


def _seconds(when: Timestamp | None) -> str:
    """A time without its fraction, as ctr has it in this list."""
    return rfc3339(Timestamp(seconds=when.seconds) if when else None)
