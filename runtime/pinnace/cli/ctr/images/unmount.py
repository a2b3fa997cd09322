"""``ctr images unmount``: take an image's file system away from a directory."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from pinnace.api.schema.leases import DeleteRequest, Leases
from pinnace.cli.client import Client
from pinnace.cli.containers import remove_snapshot
from pinnace.cli.ctr.flags import SNAPSHOTTER_FLAG
from pinnace.cli.options import Flag, switch
from pinnace.errors import Error, NotFound
from pinnace.linux.mount import unmount_all

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] <target>"
FLAGS: tuple[Flag, ...] = (
    switch("rm", about="delete the snapshot, too, with what was written to it"),
    SNAPSHOTTER_FLAG,
)


def run(call: Call) -> int:
    target = call.only_argument("please provide a target path to unmount from")
    try:
        unmount_all(target, detach=False)
    except OSError as problem:
        raise Error(f"unmounting {target}: {problem.strerror}") from None
    if call.on("rm"):
        with Client.of(call) as client:
            with contextlib.suppress(NotFound):
                client.call(Leases.delete, DeleteRequest(id=target))
            with contextlib.suppress(NotFound):
                remove_snapshot(client, call.text("snapshotter"), target)
    sys.stdout.write(f"{target}\n")
    return 0
