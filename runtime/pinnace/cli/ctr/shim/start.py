"""``ctr shim start``: start a container whose task was created."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema.shims import StartRequest
from pinnace.cli.ctr.shim.connecting import connect, container_of, protocol

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = ""
FLAGS: tuple[Flag, ...] = ()


def run(call: Call) -> int:
    request = StartRequest(id=container_of(call))
    with connect(call) as shim:
        shim.call(protocol(call).start, request)
    return 0
