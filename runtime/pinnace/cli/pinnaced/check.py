"""``pinnaced config check``: whether the daemon would start with the files, and what of them it would not use.

Exit status 0 with warnings, 1 with a mistake, which is told with file and line.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pinnace.cli.pinnaced import configuration
from pinnace.daemon import config

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = ""
FLAGS: tuple[Flag, ...] = ()


def run(call: Call) -> int:
    found = configuration.load(call)
    for warning in found.warnings:
        sys.stderr.write(f"pinnaced: warning: {warning}\n")
    path = call.text("config") or config.DEFAULT_PATH
    count = len(found.warnings)
    noted = f", {count} warning{'s' if count > 1 else ''}" if count else ""
    sys.stdout.write(f"{path}: ok{noted}\n")
    return 0
