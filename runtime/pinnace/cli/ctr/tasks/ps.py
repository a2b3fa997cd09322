"""``ctr tasks ps``: the processes of a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema.runc import ProcessDetails
from pinnace.api.schema.tasks import ListPidsRequest, Tasks
from pinnace.cli import containers
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import FORMAT, json_out, table, wants_json

if TYPE_CHECKING:
    from pinnace.api.schema.wellknown import Any as AnyMessage
    from pinnace.cli.options import Call, Flag

USAGE = "CONTAINER"
FLAGS: tuple[Flag, ...] = (FORMAT,)


def run(call: Call) -> int:
    container_id = call.only_argument("container id must be provided")
    with Client.of(call) as client:
        containers.get(client, container_id)
        found = client.call(Tasks.list_pids, ListPidsRequest(container_id=container_id)).processes
    if wants_json(call):
        json_out([{"pid": each.pid, "exec_id": _exec_id(each.info)} for each in found])
        return 0
    table(["PID\tINFO", *(f"{each.pid}\t{_info(each.info)}" for each in found)], minimum=1)
    return 0


def _info(info: AnyMessage | None) -> str:
    """``exec_id:"x"`` for a process that was added, ``-`` for the others."""
    found = _exec_id(info)
    return "-" if found is None else f'exec_id:"{found}"'


def _exec_id(info: AnyMessage | None) -> str | None:
    if info is None or not info.holds(ProcessDetails):
        return None
    return info.unpack(ProcessDetails).exec_id
