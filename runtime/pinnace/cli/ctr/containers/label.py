"""``ctr containers label``: set and clear labels of a container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema.containers import Container, Containers, UpdateContainerRequest
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import label_changes, lines

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "[flags] CONTAINER [<key>=<value>, ...]"
FLAGS: tuple[Flag, ...] = ()


def run(call: Call) -> int:
    container_id = call.argument(0, "container id must be provided")
    labels, mask = label_changes(call.args[1:], f"{call.path} {USAGE}")
    with Client.of(call) as client:
        request = UpdateContainerRequest(
            container=Container(id=container_id, labels=labels), update_mask=mask
        )
        updated = client.call(Containers.update, request).container
    shown = sorted(updated.labels.items()) if updated else []
    lines([",".join(f"{key}={value}" for key, value in shown)])
    return 0
