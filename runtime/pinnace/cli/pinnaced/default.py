"""``pinnaced config default``: the built-in configuration, to start a file of one's own from."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pinnace.daemon import config, toml

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = ""
FLAGS: tuple[Flag, ...] = ()


def run(call: Call) -> int:
    sys.stdout.write(toml.dump(config.document(config.Config({}), defaults=True)))
    return 0
