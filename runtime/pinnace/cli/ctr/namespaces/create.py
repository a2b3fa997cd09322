"""``ctr namespaces create``: make a namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema.namespaces import CreateNamespaceRequest, Namespace, Namespaces
from pinnace.cli.client import Client
from pinnace.cli.containers import parse_labels

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "<name> [<key>=<value>, ...]"
FLAGS: tuple[Flag, ...] = ()


def run(call: Call) -> int:
    name = call.argument(0, "please specify a namespace")
    wanted = Namespace(name=name, labels=parse_labels(call.args[1:]))
    with Client.of(call) as client:
        client.call(Namespaces.create, CreateNamespaceRequest(namespace=wanted))
    return 0
