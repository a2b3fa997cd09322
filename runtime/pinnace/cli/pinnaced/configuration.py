"""The configuration as the command line asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.daemon import config

if TYPE_CHECKING:
    from pinnace.cli.options import Call


def load(call: Call) -> config.Config:
    """Files, then flags over them; raises InvalidArgument with the place of a mistake."""
    found = config.load(call.text("config"))
    return found.replaced(
        address=call.text("address"),
        root=call.text("root"),
        state=call.text("state"),
        log_level=call.text("log-level"),
        log_format=call.text("log-format"),
    )
