"""``skopeo logout``: forget the login for a registry."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pinnace.cli.options import switch, text
from pinnace.cli.skopeo import login
from pinnace.errors import InvalidArgument, NotFound
from pinnace.registry import credentials

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "[REGISTRY]"
FLAGS: tuple[Flag, ...] = (
    switch("all", "a", about="forget all logins"),
    text("authfile", about="file that keeps the logins"),
    text("compat-auth-file", about="file that keeps the logins, in Docker's form"),
    switch("tls-verify", about="taken, and of no effect: nobody is asked"),
)


def run(call: Call) -> int:
    path = login.file_of(call)
    if call.on("all"):
        if call.args:
            raise InvalidArgument("--all takes no registry")
        credentials.erase(path)
        sys.stdout.write("Removed login credentials for all registries\n")
        return 0
    registry = login.key_of(call.only_argument("please name a registry"))
    if not credentials.erase(path, registry):
        raise NotFound(f"not logged in to {registry}", hint=f"looked in {path}")
    sys.stdout.write(f"Removed login credentials for {registry}\n")
    return 0
