"""``ctr sandboxes info``: everything recorded about a sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema.sandboxes import Store, StoreGetRequest
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import json_out, rfc3339
from pinnace.cli.ctr.containers.info import plain_any
from pinnace.errors import NotFound

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "<sandbox id>"
FLAGS: tuple[Flag, ...] = ()


def run(call: Call) -> int:
    sandbox_id = call.only_argument("a sandbox id must be provided")
    with Client.of(call) as client:
        found = client.call(Store.get, StoreGetRequest(sandbox_id=sandbox_id)).sandbox
    if found is None:
        raise NotFound(f'sandbox "{sandbox_id}": not found')
    runtime = found.runtime
    json_out(
        {
            "ID": found.sandbox_id,
            "Labels": dict(sorted(found.labels.items())) or None,
            "Runtime": {
                "Name": runtime.name if runtime else "",
                "Options": plain_any(runtime.options) if runtime else None,
            },
            "Spec": plain_any(found.spec),
            "Sandboxer": found.sandboxer,
            "CreatedAt": rfc3339(found.created_at),
            "UpdatedAt": rfc3339(found.updated_at),
            "Extensions": {name: plain_any(each) for name, each in found.extensions.items()}
            or None,
        }
    )
    return 0
