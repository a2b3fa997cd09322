"""``ctr snapshots delete``: delete snapshots."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pinnace.cli.client import Client
from pinnace.cli.containers import remove_snapshot
from pinnace.cli.ctr.flags import SNAPSHOTTER_FLAG
from pinnace.cli.options import Flag
from pinnace.errors import Error

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "<key> [<key>, ...]"
FLAGS: tuple[Flag, ...] = (SNAPSHOTTER_FLAG,)


def run(call: Call) -> int:
    names = call.need_args("please specify a snapshot")
    status = 0
    with Client.of(call) as client:
        for name in names:
            try:
                remove_snapshot(client, call.text("snapshotter"), name)
            except Error as problem:
                # The others are deleted all the same.
                sys.stderr.write(f'ctr: failed to delete "{name}": {problem}\n')
                status = problem.exit_status
    return status
