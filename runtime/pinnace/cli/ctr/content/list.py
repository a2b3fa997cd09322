"""``ctr content list``: the blobs of the content store."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pinnace.api.schema.content import Content, Info, ListContentRequest
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import FORMAT, age, json_out, lines, rfc3339, shown_labels, wants_json
from pinnace.cli.options import Flag, switch
from pinnace.cli.tables import decimal_size, tabulate_with_tabs

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] [<filter>, ...]"
FLAGS: tuple[Flag, ...] = (switch("quiet", "q", about="print only the digests"), FORMAT)


def run(call: Call) -> int:
    with Client.of(call) as client:
        request = ListContentRequest(filters=call.args)
        found = [info for answer in client.read(Content.list, request) for info in answer.info]
    if call.on("quiet"):
        lines(info.digest for info in found)
        return 0
    if wants_json(call):
        json_out([_document(info) for info in found])
        return 0
    rows = [
        f"{info.digest}\t{decimal_size(info.size)}\t{age(info.created_at)}\t{shown_labels(info.labels)}"
        for info in found
    ]
    sys.stdout.write(tabulate_with_tabs(["DIGEST\tSIZE\tAGE\tLABELS", *rows]))
    return 0


def _document(info: Info) -> dict[str, object]:
    return {
        "digest": info.digest,
        "size": info.size,
        "labels": dict(sorted(info.labels.items())),
        "created": rfc3339(info.created_at),
    }
