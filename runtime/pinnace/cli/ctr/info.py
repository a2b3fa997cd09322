"""``ctr info``: who the daemon is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema.introspection import Introspection
from pinnace.api.schema.wellknown import Empty
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import json_out

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = ""
FLAGS: tuple[Flag, ...] = ()


def run(call: Call) -> int:
    with Client.of(call) as client:
        answer = client.call(Introspection.server, Empty())
    server: dict[str, object] = {"uuid": answer.uuid}
    if answer.pid:
        server |= {"pid": answer.pid, "pidns": answer.pidns}
    json_out({"server": server})
    return 0
