"""``runc state``: a container's state as JSON."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from pinnace.cli.runc import common
from pinnace.cli.runc.list import owner_of
from pinnace.runc import container

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "CONTAINER"
FLAGS: tuple[Flag, ...] = ()


def run(call: Call) -> int:
    found = container.state(*common.container_of(call))
    found = {"pid": 0, **found, "owner": owner_of(found)}
    del found["config"]
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 0
