"""``ctr pprof block``: where threads wait for locks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.cli.ctr.pprof.asking import DEBUG, ask

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "[flags]"
FLAGS: tuple[Flag, ...] = (DEBUG,)


def run(call: Call) -> int:
    return ask(call, "block")
