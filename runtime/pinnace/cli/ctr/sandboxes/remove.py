"""``ctr sandboxes remove``: stop sandboxes and delete them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pinnace.api.schema import sandboxes as api
from pinnace.cli.client import Client
from pinnace.cli.options import Flag, switch
from pinnace.errors import Error, NotFound

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "<id> [<id>, ...]"
FLAGS: tuple[Flag, ...] = (
    switch("force", "f", about="delete what could not be stopped, too"),
)  # fmt: skip


def run(call: Call) -> int:
    names = call.need_args("a sandbox id must be provided")
    status = 0
    with Client.of(call) as client:
        for name in names:
            try:
                _remove(client, name, force=call.on("force"))
            except Error as problem:
                # The others are deleted all the same.
                sys.stderr.write(f'ctr: failed to delete sandbox "{name}": {problem}\n')
                status = problem.exit_status
                continue
            sys.stdout.write(f"{name}\n")
    return status


def _remove(client: Client, name: str, *, force: bool) -> None:
    found = client.call(api.Store.get, api.StoreGetRequest(sandbox_id=name)).sandbox
    if found is None:
        raise NotFound(f'sandbox "{name}": not found')
    kind = found.sandboxer
    try:
        client.call(api.Controller.stop, api.ControllerStopRequest(sandbox_id=name, sandboxer=kind))
        shutdown = api.ControllerShutdownRequest(sandbox_id=name, sandboxer=kind)
        client.call(api.Controller.shutdown, shutdown)
    except NotFound:
        pass  # its controller has none: only the record is left
    except Error:
        if not force:
            raise
    client.call(api.Store.delete, api.StoreDeleteRequest(sandbox_id=name))
