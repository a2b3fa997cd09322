"""``ctr tasks attach``: connect to the streams of a running task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.cli.client import Client
from pinnace.cli.processes import Process

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "CONTAINER"
FLAGS: tuple[Flag, ...] = ()
DETAILS = "Exits with the status of the container's process when that ends."


def run(call: Call) -> int:
    container_id = call.only_argument("container id must be provided")
    with Client.of(call) as client:
        process = Process(client, container_id)
        process.adopt(process.state())
        ended = False
        try:
            status = process.foreground(start=False, delete=True)
            ended = True
        finally:
            process.close(keep=not ended)
    return status
