"""``ctr containers create``: make a container from an image, without starting it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.cli.client import Client
from pinnace.cli.ctr.containers.building import build
from pinnace.cli.ctr.flags import CONTAINER

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "[flags] Image|RootFS CONTAINER [COMMAND] [ARG...]"
# A process id belongs to a task, which `task start --pid-file` makes.
FLAGS: tuple[Flag, ...] = tuple(flag for flag in CONTAINER if flag.names[0] != "pid-file")


def run(call: Call) -> int:
    with Client.of(call) as client:
        build(client, call)
    return 0
