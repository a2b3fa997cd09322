"""``ctr pprof goroutines``: what each thread is doing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.cli.ctr.pprof.asking import STACKS, ask

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "[flags]"
FLAGS: tuple[Flag, ...] = (STACKS,)


def run(call: Call) -> int:
    return ask(call, "goroutine")
