"""``ctr shim delete``: delete a container's task."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pinnace.api.schema.shims import DeleteRequest
from pinnace.cli.ctr.common import rfc3339
from pinnace.cli.ctr.shim.connecting import connect, container_of, protocol

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = ""
FLAGS: tuple[Flag, ...] = ()


def run(call: Call) -> int:
    request = DeleteRequest(id=container_of(call))
    with connect(call) as shim:
        gone = shim.call(protocol(call).delete, request)
    sys.stdout.write(
        f"container deleted and returned exit status {gone.exit_status} at {rfc3339(gone.exited_at)}\n"
    )
    return 0
