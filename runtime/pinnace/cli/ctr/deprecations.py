"""``ctr deprecations list``: what the daemon saw used that will go away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema.introspection import Introspection
from pinnace.api.schema.wellknown import Empty
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import json_out, rfc3339, table
from pinnace.cli.options import Flag, text
from pinnace.errors import InvalidArgument

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags]"
FLAGS: tuple[Flag, ...] = (text("format", about='"default" or "json"'),)


def run(call: Call) -> int:
    wanted = call.text("format")
    if wanted not in ("", "default", "json"):
        raise InvalidArgument(f'invalid format "{wanted}": default or json is expected')
    with Client.of(call) as client:
        warnings = client.call(Introspection.server, Empty()).deprecations
    if wanted == "json":
        json_out(
            [
                {"id": each.id, "message": each.message, "lastOccurrence": rfc3339(each.last_occurrence)}
                for each in warnings
            ]
        )  # fmt: skip
        return 0
    if not warnings:
        return 0  # as ctr: nothing to warn of, nothing to read
    rows = [f"{each.id}\t{rfc3339(each.last_occurrence)}\t{each.message}\t" for each in warnings]
    table(["ID\tLAST OCCURRENCE\tMESSAGE\t", *rows], minimum=4, padding=1)
    return 0
