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

USAGE = "[flags] CONTAINER"
FLAGS: tuple[Flag, ...] = (text("format", "f", default="table", about="table or json"),)


def run(call: Call) -> int:
    form = call.text("format")
    if form not in ("table", "json"):
        raise InvalidArgument(f'invalid format "{form}"', hint="table and json exist")
    pids = container.pids(*common.container_of(call))
    if form == "json":
        sys.stdout.write(json.dumps(pids) + "\n")
    else:
        sys.stdout.write("PID\n" + "".join(f"{pid}\n" for pid in pids))
    return 0
