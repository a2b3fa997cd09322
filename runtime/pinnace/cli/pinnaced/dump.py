"""``pinnaced config dump``: the configuration in effect, and what of the file is not used.

Comments at its end say which hosts are asked for which registry, in order: what several files decide together.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pinnace.cli.pinnaced import configuration
from pinnace.daemon import config, registries, toml

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = ""
FLAGS: tuple[Flag, ...] = ()


def run(call: Call) -> int:
    found = configuration.load(call)
    for warning in found.warnings:
        sys.stderr.write(f"pinnaced: warning: {warning}\n")
    sys.stdout.write(toml.dump(config.document(found, defaults=True)))
    for line in registries.describe(found):
        sys.stdout.write(f"# {line}\n")
    return 0
