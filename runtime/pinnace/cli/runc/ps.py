"""``runc ps``: the processes of a container."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from pinnace.cli.options import Flag, text
from pinnace.cli.runc import common
from pinnace.errors import InvalidArgument
from pinnace.runc import container

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] CONTAINER [PS-OPTION...]"
DETAILS = (
    "The table is what the host's ps prints for the container's processes (ps -ef by default)."
)
FLAGS: tuple[Flag, ...] = (text("format", "f", default="table", about="table or json"),)


def run(call: Call) -> int:
    form = call.text("format")
    if form not in ("table", "json"):
        raise InvalidArgument(f'invalid format "{form}"', hint="table and json exist")
    identifier = call.argument(0, common.ID_MISSING)
    pids = container.pids(identifier, common.state_root(call))
    if form == "json":
        sys.stdout.write(json.dumps(pids) + "\n")
    else:
        sys.stdout.write(_table(pids, call.args[1:] or ["-ef"]))
    return 0


def _table(pids: list[int], options: list[str]) -> str:
    """The lines of ps(1) about ``pids``; their numbers alone where there is no ps."""
    import subprocess

    try:
        done = subprocess.run(["ps", *options], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "PID\n" + "".join(f"{pid}\n" for pid in pids)
    if done.returncode:
        raise InvalidArgument(f"ps {' '.join(options)}: {done.stderr.strip()}")
    heading, *lines = done.stdout.splitlines()
    columns = heading.split()
    if "PID" not in columns:
        raise InvalidArgument(f"ps {' '.join(options)} prints no column PID")
    column = columns.index("PID")
    wanted = {str(pid) for pid in pids}
    kept = [line for line in lines if (line.split() + [""] * len(columns))[column] in wanted]
    return "".join(f"{line}\n" for line in [heading, *kept])
