"""``ctr images push``: send an image to a registry."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from pinnace.api.schema import transfertypes as types
from pinnace.cli import transfer
from pinnace.cli.client import Client
from pinnace.cli.ctr.images import registry
from pinnace.cli.options import Flag, texts
from pinnace.cli.progress import Display
from pinnace.errors import InvalidArgument
from pinnace.spec import platform as platforms
from pinnace.spec.reference import Reference

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] <remote> [<local>]"
FLAGS: tuple[Flag, ...] = (
    texts("platform", about="send the part for this platform only"),
    *registry.FLAGS,
)
DETAILS = (
    "REMOTE is the name it gets, LOCAL the image's name here where that is another one.\n"
    "The daemon sends: its certificates apply, files named here are read by it."
)


def run(call: Call) -> int:
    if not 1 <= len(call.args) <= 2:
        raise InvalidArgument("please provide a remote image reference to push")
    remote, local = call.args[0], call.args[-1]
    reference = Reference.parse(remote)
    wanted = [platforms.parse(each) for each in call.texts("platform")]
    source = types.ImageStore(
        name=local, platforms=[transfer.platform_message(each) for each in wanted]
    )
    started = time.monotonic()
    with (
        Client.of(call) as client,
        Display(remote) as display,
        transfer.Exchange(client, display.hear) as exchange,
        registry.registry(call, exchange, reference, remote) as target,
    ):
        exchange.run(source, target)
    sys.stdout.write(f"done: {time.monotonic() - started:.1f} s\n")
    return 0
