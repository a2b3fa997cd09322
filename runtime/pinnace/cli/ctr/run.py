"""``ctr run``: make a container from an image and start it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pinnace.cli import containers
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import json_out
from pinnace.cli.ctr.containers.building import build, dump
from pinnace.cli.ctr.flags import CONTAINER, PLATFORM, STDIO, SYNC_FS
from pinnace.cli.options import Flag, switch, texts
from pinnace.cli.processes import Process, StdioWish, run_task
from pinnace.cli.terminal import RawTerminal
from pinnace.errors import Error, InvalidArgument

if TYPE_CHECKING:
    from pinnace.api.schema.containers import Container
    from pinnace.cli.options import Call

USAGE = "[flags] Image|RootFS ID [COMMAND] [ARG...]"
FLAGS: tuple[Flag, ...] = (
    switch("rm", about="delete the container when its process has ended (not with --detach)"),
    switch("detach", "d", about="return as soon as the process runs (not with --rm)"),
    *STDIO,
    PLATFORM,
    switch("cni", about="refused: networks are not attached by ctr"),
    switch("dump-config", about="print the runtime specification and make nothing"),
    SYNC_FS,
    texts("uidmap", about="run in a user namespace with these user ids (INSIDE:OUTSIDE:COUNT)"),
    texts("gidmap", about="run in a user namespace with these group ids (INSIDE:OUTSIDE:COUNT)"),
    switch("remap-labels", about="have the snapshotter shift the owners of files, by labels"),
    switch(
        "privileged-without-host-devices", about="with --privileged: without the host's devices"
    ),
    *CONTAINER,
)
DETAILS = "Exits with the status of the container's process."


def run(call: Call) -> int:
    remove, detach = call.on("rm"), call.on("detach")
    if remove and detach:
        raise InvalidArgument("flags --detach and --rm cannot be used together")
    wish = StdioWish(
        terminal=call.on("tty"),
        null=call.on("null-io"),
        log_uri=call.text("log-uri"),
        fifo_directory=call.text("fifo-dir"),
    )
    if call.on("dump-config"):
        with Client.of(call) as client:
            json_out(dump(client, call))
        return 0
    if wish.terminal and not detach:
        RawTerminal(0)  # complain before anything is made
    with Client.of(call) as client:
        container, mounts, settle = build(client, call)
        try:
            process = Process(client, container.id)
            status = run_task(
                process, container, wish, detach=detach, pid_file=call.text("pid-file"),
                no_pivot=call.on("no-pivot"), mounts=mounts,
            )  # fmt: skip
        finally:
            if remove:
                _remove(client, container)
        settle()
    return status


def _remove(client: Client, container: Container) -> None:
    try:
        containers.delete(client, container, keep_snapshot=False)
    except Error as problem:
        sys.stderr.write(f'ctr: container "{container.id}" could not be deleted: {problem}\n')
