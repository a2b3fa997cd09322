"""``ctr sandboxes run``: make a sandbox and start it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from pinnace.api.schema import sandboxes as api
from pinnace.api.schema.sandboxtypes import Sandbox
from pinnace.api.schema.wellknown import Any as AnyMessage
from pinnace.cli.client import Client
from pinnace.cli.containers import RUNTIME, SPEC_TYPE
from pinnace.cli.ctr.containers.specflags import read_json
from pinnace.cli.options import Flag, text
from pinnace.errors import Error

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] <pod-config.json> <sandbox-id>"
FLAGS: tuple[Flag, ...] = (text("runtime", default=RUNTIME, about="the runtime's name"),)
DETAILS = "The configuration is what the sandbox's controller takes: for containerd's, CRI's PodSandboxConfig."


def run(call: Call) -> int:
    config = read_json(call.argument(0, "a pod configuration must be provided"))
    sandbox_id = call.argument(1, "a sandbox id must be provided")
    packed = AnyMessage(type_url="runtime.v1.PodSandboxConfig", value=json.dumps(config).encode())
    record = Sandbox(
        sandbox_id=sandbox_id,
        runtime=Sandbox.Runtime(name=call.text("runtime")),
        spec=AnyMessage(type_url=SPEC_TYPE, value=b"{}"),
        sandboxer="podsandbox",
    )
    with Client.of(call) as client:
        client.call(api.Store.create, api.StoreCreateRequest(sandbox=record))
        try:
            create = api.ControllerCreateRequest(
                sandbox_id=sandbox_id, options=packed, sandbox=record, sandboxer="podsandbox"
            )
            client.call(api.Controller.create, create)
            start = api.ControllerStartRequest(sandbox_id=sandbox_id, sandboxer="podsandbox")
            client.call(api.Controller.start, start)
        except Error:
            client.call(api.Store.delete, api.StoreDeleteRequest(sandbox_id=sandbox_id))
            raise
    sys.stdout.write(f"{sandbox_id}\n")
    return 0
