"""``ctr containers info``: everything recorded about a container."""

from __future__ import annotations

import binascii
import json
from typing import TYPE_CHECKING, Any

from pinnace.cli import containers
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import json_out, rfc3339
from pinnace.cli.options import Flag, switch

if TYPE_CHECKING:
    from pinnace.api.schema.containers import Container
    from pinnace.api.schema.wellknown import Any as AnyMessage
    from pinnace.cli.options import Call

USAGE = "CONTAINER"
FLAGS: tuple[Flag, ...] = (switch("spec", about="print only the runtime specification"),)


def run(call: Call) -> int:
    container_id = call.only_argument("container id must be provided")
    with Client.of(call) as client:
        container = containers.get(client, container_id)
    json_out(containers.spec_of(container) if call.on("spec") else document(container))
    return 0


def document(container: Container) -> dict[str, Any]:
    """The record in the form (names, order) that containerd's ctr prints."""
    runtime: dict[str, Any] = {"Name": "", "Options": None}
    if container.runtime is not None:
        runtime = {"Name": container.runtime.name, "Options": plain_any(container.runtime.options)}
    shown: dict[str, Any] = {
        "ID": container.id,
        "Labels": dict(sorted(container.labels.items())),
        "Image": container.image,
        "Runtime": runtime,
        "SnapshotKey": container.snapshot_key,
        "Snapshotter": container.snapshotter,
        "CreatedAt": rfc3339(container.created_at),
        "UpdatedAt": rfc3339(container.updated_at),
        "Extensions": {name: plain_any(each) for name, each in container.extensions.items()},
    }
    shown["SandboxID"] = container.sandbox
    shown["Spec"] = plain_any(container.spec)
    return shown


def plain_any(message: AnyMessage | None) -> Any:
    """A packed value: itself where it is JSON, else its type and its bytes."""
    if message is None:
        return None
    try:
        return json.loads(message.value)
    except ValueError:
        pass
    shown = {"type_url": message.type_url}
    if message.value:
        shown["value"] = binascii.b2a_base64(message.value, newline=False).decode()
    return shown
