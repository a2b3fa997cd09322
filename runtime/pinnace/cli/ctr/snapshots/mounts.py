"""``ctr snapshots mounts``: the commands that mount a snapshot."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from pinnace.api.schema.snapshots import MountsRequest, Snapshots
from pinnace.cli.client import Client
from pinnace.cli.containers import mounts_of
from pinnace.cli.ctr.flags import SNAPSHOTTER_FLAG
from pinnace.cli.ctr.snapshots.mounting import print_commands
from pinnace.cli.options import Flag, switch
from pinnace.errors import Error, InvalidArgument
from pinnace.linux.mount import mount_all, unmount_all

if TYPE_CHECKING:
    from pinnace.cli.options import Call
    from pinnace.linux.mount import Mount

USAGE = "[flags] <target> <key>"
FLAGS: tuple[Flag, ...] = (
    switch("temp", about="mount it there until standard input ends or the command is interrupted"),
    SNAPSHOTTER_FLAG,
)


def run(call: Call) -> int:
    if len(call.args) != 2:
        raise InvalidArgument("please provide both a target and a snapshot key")
    target, key = call.args
    request = MountsRequest(snapshotter=call.text("snapshotter"), key=key)
    with Client.of(call) as client:
        mounts = client.call(Snapshots.mounts, request).mounts
    if call.on("temp"):
        _hold(mounts_of(mounts), target)
    else:
        print_commands(mounts, target)
    return 0


def _hold(mounts: list[Mount], target: str) -> None:
    if not os.path.isdir(target):
        raise InvalidArgument(f"{target} is not a directory")
    try:
        mount_all(mounts, target)
    except OSError as problem:
        raise Error(f"mounting at {target}: {problem.strerror}") from None
    try:
        sys.stdout.write(f"{target}\n")
        sys.stdout.flush()
        while os.read(0, 4096):
            pass
    finally:
        unmount_all(target)
