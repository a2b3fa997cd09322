"""``ctr tasks pause``: freeze a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema.tasks import PauseTaskRequest, Tasks
from pinnace.cli import containers
from pinnace.cli.client import Client

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "CONTAINER"
FLAGS: tuple[Flag, ...] = ()


def run(call: Call) -> int:
    container_id = call.only_argument("container id must be provided")
    with Client.of(call) as client:
        containers.get(client, container_id)
        client.call(Tasks.pause, PauseTaskRequest(container_id=container_id))
    return 0
