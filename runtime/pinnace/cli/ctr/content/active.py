"""``ctr content active``: what is being written into the content store."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from pinnace.api.schema.content import Content, ListStatusesRequest, Status
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import FORMAT, age, json_out, rfc3339, wants_json
from pinnace.cli.options import Flag, duration, text
from pinnace.cli.tables import decimal_size, tabulate_with_tabs
from pinnace.errors import InvalidArgument

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] [<regexp>]"
FLAGS: tuple[Flag, ...] = (
    duration("timeout", "t", about="longest time for the answer (0s: no limit)"),
    text("root", about="not used: the daemon is asked, whose store is where it says"),
    FORMAT,
)
DETAILS = "A name of an upload that the regular expression is found in is listed."


def run(call: Call) -> int:
    pattern = "".join(call.args[:1])
    try:
        wanted = re.compile(pattern)
    except re.error as problem:
        raise InvalidArgument(f"{pattern!r} is no regular expression: {problem}") from None
    with Client.of(call) as client:
        found = client.call(Content.list_statuses, ListStatusesRequest()).statuses
    found = [each for each in found if wanted.search(each.ref)]
    if wants_json(call):
        json_out([_document(each) for each in found])
        return 0
    rows = [f"{each.ref}\t{decimal_size(each.offset)}\t{age(each.started_at)}\t" for each in found]
    sys.stdout.write(tabulate_with_tabs(["REF\tSIZE\tAGE\t", *rows]))
    return 0


def _document(each: Status) -> dict[str, object]:
    return {
        "ref": each.ref,
        "offset": each.offset,
        "total": each.total,
        "expected": each.expected,
        "started": rfc3339(each.started_at),
        "updated": rfc3339(each.updated_at),
    }
