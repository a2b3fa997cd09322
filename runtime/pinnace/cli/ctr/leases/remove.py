"""``ctr leases delete``: delete leases."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pinnace.api.schema.leases import DeleteRequest, Leases
from pinnace.cli.client import Client
from pinnace.cli.options import Flag, switch
from pinnace.errors import Error

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] <lease id> ..."
FLAGS: tuple[Flag, ...] = (
    switch("sync", about="return only when the content nothing else needs is gone"),
)


def run(call: Call) -> int:
    names = call.need_args("please specify a lease")
    status = 0
    with Client.of(call) as client:
        for name in names:
            try:
                client.call(Leases.delete, DeleteRequest(id=name, sync=call.on("sync")))
            except Error as problem:
                # The others are deleted all the same.
                sys.stderr.write(f'ctr: failed to delete "{name}": {problem}\n')
                status = problem.exit_status
                continue
            sys.stdout.write(f"{name}\n")
    return status
