"""``ctr tasks delete``: delete tasks that have ended."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

from pinnace.cli.client import Client
from pinnace.cli.options import Flag, switch, text
from pinnace.cli.processes import Process
from pinnace.errors import Error, FailedPrecondition, NotFound

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] CONTAINER [CONTAINER, ...]"
FLAGS: tuple[Flag, ...] = (
    switch("force", "f", about="kill what still runs"),
    text("exec-id", about="delete this process instead of the task"),
)
DETAILS = "For one task, exits with the status that its process ended with."


def run(call: Call) -> int:
    names = call.need_args("container id must be provided")
    status = 0
    with Client.of(call) as client:
        for name in names:
            process = Process(client, name, call.text("exec-id"))
            try:
                ended = _delete(process, force=call.on("force"))
            except Error as problem:
                if len(names) == 1:
                    raise
                sys.stderr.write(f"ctr: failed to delete task {name}: {problem}\n")
                status = problem.exit_status
                continue
            if call.on("force"):
                continue  # that it was killed is what was asked for
            if ended and len(names) == 1:
                status = ended
            elif ended:
                sys.stderr.write(f"ctr: task {name} exit with non-zero exit code {ended}\n")
    return status


def _delete(process: Process, *, force: bool) -> int:
    if force:
        try:
            process.kill(signal.SIGKILL, everyone=True)
            process.wait()
        except (FailedPrecondition, NotFound):
            pass  # it has ended already; whether it exists the next call tells
    return process.remove()
