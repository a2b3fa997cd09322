"""``ctr tasks checkpoint``: a task's memory and state, into an image or a directory (with criu)."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from pinnace.cli import checkpoints, containers
from pinnace.cli.client import Client
from pinnace.cli.options import Flag, switch, text

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] CONTAINER"
FLAGS: tuple[Flag, ...] = (
    switch("exit", about="end the task afterwards"),
    text("image-path", about="directory for criu's images, instead of an image of the store"),
    text("work-path", about="directory for criu's logs"),
)


def run(call: Call) -> int:
    container_id = call.only_argument("container id must be provided")
    image, work = (
        os.path.abspath(path) if path else ""
        for path in (call.text("image-path"), call.text("work-path"))
    )
    with Client.of(call) as client, containers.leased(client):
        container = containers.get(client, container_id)
        found = checkpoints.task(
            client, container_id, exit_after=call.on("exit"), image_path=image, work_path=work
        )
        if not image:
            name = f"containerd.io/checkpoint/{container_id}:{time.strftime('%m-%d-%Y-%H:%M:%S')}"
            checkpoints.store(client, container, name, found)
            sys.stdout.write(f"{name}\n")
    return 0
