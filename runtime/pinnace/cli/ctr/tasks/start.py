"""``ctr tasks start``: start the task of a container that was created."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.cli import containers
from pinnace.cli.client import Client
from pinnace.cli.ctr.flags import NO_PIVOT, STDIO
from pinnace.cli.options import Flag, switch, text
from pinnace.cli.processes import Process, StdioWish, run_task

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] CONTAINER"
FLAGS: tuple[Flag, ...] = (
    *STDIO,
    text("pid-file", about="write the task's process id to this file"),
    switch("detach", "d", about="return as soon as the process runs"),
    NO_PIVOT,
)
DETAILS = "Exits with the status of the container's process."


def run(call: Call) -> int:
    container_id = call.only_argument("container id must be provided")
    with Client.of(call) as client:
        container = containers.get(client, container_id)
        spec = containers.spec_of(container)
        wish = StdioWish(
            terminal=bool((spec.get("process") or {}).get("terminal")),
            null=call.on("null-io"),
            log_uri=call.text("log-uri"),
            fifo_directory=call.text("fifo-dir"),
        )
        return run_task(
            Process(client, container_id), container, wish,
            detach=call.on("detach"), pid_file=call.text("pid-file"), no_pivot=call.on("no-pivot"),
        )  # fmt: skip
