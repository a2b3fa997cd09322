"""``runc pause``: freeze the processes of a container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.cli.runc import common
from pinnace.runc import container

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "CONTAINER"
FLAGS: tuple[Flag, ...] = ()


def run(call: Call) -> int:
    container.pause(*common.container_of(call))
    return 0
