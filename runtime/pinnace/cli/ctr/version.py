"""``ctr version``: the versions of this command and of the daemon."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pinnace.api.schema.introspection import Introspection
from pinnace.api.schema.version import Version
from pinnace.api.schema.wellknown import Empty
from pinnace.cli.client import Client
from pinnace.version import VERSION

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = ""
FLAGS: tuple[Flag, ...] = ()


def run(call: Call) -> int:
    sys.stdout.write(
        f"Client:\n  Version:  {VERSION}\n  Python version: {sys.version.partition(' ')[0]}\n\n"
    )
    with Client.of(call) as client:
        server = client.call(Version.version, Empty())
        sys.stdout.write(f"Server:\n  Version:  {server.version}\n  Revision: {server.revision}\n")
        about = client.call(Introspection.server, Empty())
        sys.stdout.write(f"  UUID: {about.uuid}\n")
    return 0
