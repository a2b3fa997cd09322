"""``ctr content get``: write a blob to standard output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema.content import Content, ReadContentRequest
from pinnace.cli.client import Client
from pinnace.cli.stdio import write_all

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "<digest> [<digest>, ...]"
FLAGS: tuple[Flag, ...] = ()


def run(call: Call) -> int:
    digests = call.need_args("please specify a digest")
    with Client.of(call) as client:
        for digest in digests:
            for answer in client.read(Content.read, ReadContentRequest(digest=digest)):
                write_all(1, answer.data)
    return 0
