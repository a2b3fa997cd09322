"""``ctr oci spec``: the runtime specification that a container gets before its flags change it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.cli.ctr.common import json_out
from pinnace.cli.options import Flag, text
from pinnace.errors import Unimplemented
from pinnace.spec import oci, platform

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags]"
FLAGS: tuple[Flag, ...] = (
    text("platform", about="of this platform (linux/arm/v7); the same for every Linux"),
)


def run(call: Call) -> int:
    wanted = call.text("platform")
    if wanted and platform.parse(wanted).os != "linux":
        raise Unimplemented(f"{wanted}: only Linux containers run here")
    json_out(oci.default_spec("", call.text("namespace")))
    return 0
