"""``ctr plugins inspect-runtime``: what a runtime says about itself."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from pinnace.api.schema.introspection import Introspection, PluginInfoRequest
from pinnace.api.schema.types import RuntimeInfo, RuntimeRequest
from pinnace.api.schema.wellknown import Any as AnyMessage
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import json_out
from pinnace.cli.ctr.containers.building import runtime_options
from pinnace.cli.ctr.flags import RUNTIME_FLAGS
from pinnace.errors import NotFound

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "[flags]"
FLAGS: tuple[Flag, ...] = RUNTIME_FLAGS


def run(call: Call) -> int:
    wanted = RuntimeRequest(runtime_path=call.text("runtime"), options=runtime_options(call))
    request = PluginInfoRequest(
        type="io.containerd.runtime.v2", id="task", options=AnyMessage.pack(wanted)
    )
    with Client.of(call) as client:
        extra = client.call(Introspection.plugin_info, request).extra
    if extra is None or not extra.holds(RuntimeInfo):
        raise NotFound(f"the daemon knows nothing about the runtime {call.text('runtime')}")
    info = extra.unpack(RuntimeInfo)
    version = info.version
    json_out(
        {
            "Name": info.name,
            "Version": {
                "Version": version.version if version else "",
                "Revision": version.revision if version else "",
            },
            "Options": _shown(info.options),
            "Features": _shown(info.features),
            "Annotations": dict(sorted(info.annotations.items())) or None,
        }
    )
    return 0


def _shown(message: AnyMessage | None) -> Any:
    """A packed value where it is JSON; else its bytes."""
    if message is None:
        return None
    try:
        return json.loads(message.value)
    except ValueError:
        return {"value": base64.b64encode(message.value).decode()} if message.value else {}
