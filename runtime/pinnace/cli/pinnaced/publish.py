"""``pinnaced publish``: tell the daemon of an event, as shims and hooks do that know no other way.

The event's message comes on standard input, packed (google.protobuf.Any), as containerd's command of this name takes it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pinnace.api.schema.eventservice import Events, PublishRequest
from pinnace.api.schema.wellknown import Any
from pinnace.cli.client import Client, default_address
from pinnace.cli.options import Flag, text
from pinnace.errors import InvalidArgument

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "--namespace NAMESPACE --topic TOPIC"
FLAGS: tuple[Flag, ...] = (
    text("namespace", about="the namespace that it happened in"),
    text("topic", about="such as /tasks/exit"),
)
_MOST_BYTES = 4 << 20


def run(call: Call) -> int:
    for name in ("namespace", "topic"):
        if not call.text(name):
            raise InvalidArgument(f"--{name} is required")
    data = sys.stdin.buffer.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise InvalidArgument(f"an event of more than {_MOST_BYTES} bytes")
    event = Any.decode(data)
    with Client(call.text("address") or default_address(), call.text("namespace")) as client:
        client.call(Events.publish, PublishRequest(topic=call.text("topic"), event=event))
    return 0
