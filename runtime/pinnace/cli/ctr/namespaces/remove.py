"""``ctr namespaces remove``: delete empty namespaces."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pinnace.api.schema.namespaces import DeleteNamespaceRequest, Namespaces
from pinnace.cli.client import Client
from pinnace.errors import NotFound

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "<name> [<name>, ...]"
FLAGS: tuple[Flag, ...] = ()


def run(call: Call) -> int:
    names = call.need_args("please specify a namespace")
    status = 0
    with Client.of(call) as client:
        for name in names:
            try:
                client.call(Namespaces.delete, DeleteNamespaceRequest(name=name))
            except NotFound as problem:
                sys.stderr.write(f"ctr: {problem}\n")
                status = 1
                continue
            sys.stdout.write(f"{name}\n")
    return status
