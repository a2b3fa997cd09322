"""``ctr containers create``: make a container from an image, without starting it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.cli.client import Client
from pinnace.cli.ctr.containers.building import build
from pinnace.cli.ctr.flags import CONTAINER, refuse

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "[flags] Image|RootFS CONTAINER [COMMAND] [ARG...]"
FLAGS: tuple[Flag, ...] = CONTAINER


def run(call: Call) -> int:
    refuse(call, "a process id belongs to a task: ctr tasks start --pid-file", "pid-file")
    with Client.of(call) as client:
        build(client, call).settle()
    return 0
