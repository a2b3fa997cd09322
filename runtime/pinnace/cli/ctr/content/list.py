"""``ctr content list``: the blobs of the content store."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pinnace.api.schema.content import Content, ListContentRequest
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import age, lines, shown_labels
from pinnace.cli.options import Flag, switch
from pinnace.cli.tables import decimal_size

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] [<filter>, ...]"
FLAGS: tuple[Flag, ...] = (switch("quiet", "q", about="print only the digests"),)


def run(call: Call) -> int:
    with Client.of(call) as client:
        request = ListContentRequest(filters=call.args)
        found = [info for answer in client.read(Content.list, request) for info in answer.info]
    if call.on("quiet"):
        lines(info.digest for info in found)
        return 0
    # ctr prints this one with plain tabs, ready for cut(1).
    sys.stdout.write("DIGEST\t\t\t\t\t\t\t\t\tSIZE\tAGE\t\tLABELS\n")
    for info in found:
        when = age(info.created_at)
        cells = (info.digest, decimal_size(info.size), when, shown_labels(info.labels))
        sys.stdout.write("\t".join(cells) + "\n")
    return 0
