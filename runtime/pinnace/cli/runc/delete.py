"""``runc delete``: remove what a container has left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.cli.options import Flag, switch
from pinnace.cli.runc import common
from pinnace.runc import container

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] CONTAINER"
FLAGS: tuple[Flag, ...] = (
    switch("force", "f", about="kill it first if it runs; one that does not exist is fine"),
)


def run(call: Call) -> int:
    container.delete(*common.container_of(call), force=call.on("force"))
    return 0
