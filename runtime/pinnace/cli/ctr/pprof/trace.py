"""``ctr pprof trace``: a record of what the scheduler did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.cli.ctr.pprof.asking import DEBUG, ask, seconds

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "[flags]"
FLAGS: tuple[Flag, ...] = (
    seconds(5.0),
    DEBUG,
)


def run(call: Call) -> int:
    return ask(call, "trace")
