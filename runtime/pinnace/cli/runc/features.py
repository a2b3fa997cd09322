"""``runc features``: what this runtime can do, for engines that ask before they use it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from pinnace.cli.options import Flag
from pinnace.errors import InvalidArgument
from pinnace.runc import features

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = ""
FLAGS: tuple[Flag, ...] = ()


def run(call: Call) -> int:
    if call.args:
        raise InvalidArgument(f"unexpected argument {call.args[0]!r}")
    sys.stdout.write(json.dumps(features.describe(), indent=2) + "\n")
    return 0
