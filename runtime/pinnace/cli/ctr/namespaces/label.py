"""``ctr namespaces label``: set and clear labels of a namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema.namespaces import Namespace, Namespaces, UpdateNamespaceRequest
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import label_changes

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "<name> <key>=<value>, ..."
FLAGS: tuple[Flag, ...] = ()


def run(call: Call) -> int:
    name = call.argument(0, "please specify a namespace")
    labels, mask = label_changes(call.args[1:], f"{call.path} {USAGE}")
    changed = Namespace(name=name, labels=labels)
    with Client.of(call) as client:
        client.call(Namespaces.update, UpdateNamespaceRequest(namespace=changed, update_mask=mask))
    return 0
