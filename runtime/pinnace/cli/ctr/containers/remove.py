"""``ctr containers delete``: delete containers that have no running task."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pinnace.api.schema.tasktypes import STATUS_CREATED, STATUS_STOPPED
from pinnace.cli import containers
from pinnace.cli.client import Client
from pinnace.cli.options import Flag, switch
from pinnace.cli.processes import Process
from pinnace.errors import Error, FailedPrecondition, NotFound

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] CONTAINER [CONTAINER, ...]"
FLAGS: tuple[Flag, ...] = (
    switch("keep-snapshot", about="leave the container's file system in place"),
)


def run(call: Call) -> int:
    names = call.need_args("must specify at least one container to delete")
    status = 0
    with Client.of(call) as client:
        for name in names:
            try:
                _delete(client, name, keep_snapshot=call.on("keep-snapshot"))
            except Error as problem:
                # The others are deleted all the same.
                sys.stderr.write(f'ctr: failed to delete container "{name}": {problem}\n')
                status = problem.exit_status
    return status


def _delete(client: Client, name: str, *, keep_snapshot: bool) -> None:
    container = containers.get(client, name)
    process = Process(client, name)
    try:
        status = process.state().status
    except NotFound:
        pass
    else:
        if status not in (STATUS_STOPPED, STATUS_CREATED):
            raise FailedPrecondition(
                "cannot delete a non stopped container", hint=f"ctr task kill {name} ends it"
            )
        process.remove()
    containers.delete(client, container, keep_snapshot=keep_snapshot)
