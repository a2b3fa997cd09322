"""``runc kill``: send a signal to a container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.cli.options import Flag, switch
from pinnace.cli.runc import common
from pinnace.errors import InvalidArgument
from pinnace.runc import container

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] CONTAINER [SIGNAL]"
FLAGS: tuple[Flag, ...] = (
    switch("all", "a", about="send it to every process, also when the first has ended"),
)


def run(call: Call) -> int:
    identifier = call.argument(0, common.ID_MISSING)
    if len(call.args) > 2:
        raise InvalidArgument(f"unexpected argument {call.args[2]}")
    signal = call.args[1] if len(call.args) > 1 else "SIGTERM"
    container.kill(identifier, common.state_root(call), signal, all=call.on("all"))
    return 0
