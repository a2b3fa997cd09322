"""``ctr shim shutdown``: end a shim that has no task any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema.shims import ShutdownRequest
from pinnace.cli.ctr.shim.connecting import API_VERSION, connect, container_of, protocol

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "[flags]"
FLAGS: tuple[Flag, ...] = (API_VERSION,)


def run(call: Call) -> int:
    request = ShutdownRequest(id=container_of(call))
    with connect(call) as shim:
        shim.call(protocol(call).shutdown, request)
    return 0
