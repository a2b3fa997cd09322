"""``./inv registry ACTION``: what each word does and prints."""

from __future__ import annotations

import time

from toolkit import console
from toolkit.arch import Arch
from toolkit.errors import UsageError
from toolkit.lab import registry

ACTIONS = ("start", "stop", "fill", "list")


def run(action: str, *, arch: str, update: bool, yes: bool = False) -> int:
    """Do one action; returns the exit status."""
    if action not in ACTIONS:
        raise UsageError(
            f"unknown action {action}" if action else "what shall the registry do?",
            hint=f"one of: {', '.join(ACTIONS)}",
        )
    if (arch or update) and action != "fill":
        raise UsageError(f"--arch and --update belong to fill, not to {action}")
    if action == "start":
        _start(yes)
    elif action == "stop":
        console.note("the lab registry is stopped" if registry.stop() else "it did not run")
    elif action == "fill":
        _fill(Arch.parse_list(arch), update)
    else:
        rows = [[name, " ".join(platforms)] for name, platforms in registry.contents()]
        console.table(["image", "platforms"], rows)
    return 0


def _start(yes: bool) -> None:
    now = registry.start(yes=yes)
    console.note(f"{registry.NAME} answers on {now.url} (pid {now.pid})")
    console.note(f"its CA certificate: {registry.ca_certificate()}")


def _fill(architectures: list[Arch], update: bool) -> None:
    started = time.monotonic()
    made = registry.fill(architectures, update=update)
    console.recap(registry.NAME, {"pushed": made}, time.monotonic() - started)
