"""``ctr shim state``: what a shim knows of its process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema.shims import StateRequest
from pinnace.cli.ctr.common import json_out, rfc3339
from pinnace.cli.ctr.shim.connecting import API_VERSION, connect, container_of, protocol
from pinnace.cli.ctr.tasks.list import STATUS
from pinnace.cli.options import Flag, text

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags]"
FLAGS: tuple[Flag, ...] = (
    text("task-id", "t", about="the task, where a shim has several; default: the container's"),
    API_VERSION,
)


def run(call: Call) -> int:
    request = StateRequest(id=call.text("task-id") or container_of(call))
    with connect(call) as shim:
        state = shim.call(protocol(call).state, request)
    json_out(
        {
            "id": state.id,
            "bundle": state.bundle,
            "pid": state.pid,
            "status": STATUS.get(state.status, str(state.status)),
            "stdin": state.stdin,
            "stdout": state.stdout,
            "stderr": state.stderr,
            "terminal": state.terminal,
            "exit_status": state.exit_status,
            "exited_at": rfc3339(state.exited_at),
        }
    )
    return 0
