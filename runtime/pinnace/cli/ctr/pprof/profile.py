"""``ctr pprof profile``: where processor time goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.cli.ctr.pprof.asking import DEBUG, ask, seconds

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "[flags]"
FLAGS: tuple[Flag, ...] = (
    seconds(30.0),
    DEBUG,
)


def run(call: Call) -> int:
    return ask(call, "profile")
