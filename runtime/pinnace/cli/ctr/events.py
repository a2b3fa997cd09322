"""``ctr events``: what happens in the daemon, as it happens."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from pinnace.api.codec import Message
from pinnace.api.schema import events, images
from pinnace.api.schema.eventservice import Events, SubscribeRequest
from pinnace.api.schema.wellknown import Timestamp
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import rfc3339

if TYPE_CHECKING:
    from pinnace.api.schema.types import Envelope
    from pinnace.cli.options import Call, Flag

USAGE = "[<filter>, ...]"
FLAGS: tuple[Flag, ...] = ()
_KINDS = {
    kind.full_name(): kind
    for module in (events, images)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Message) and kind.__module__ == module.__name__
}


def run(call: Call) -> int:
    with Client.of(call) as client:
        for envelope in client.read(Events.subscribe, SubscribeRequest(filters=call.args)):
            sys.stdout.write(line(envelope))
            sys.stdout.flush()
    return 0


def line(envelope: Envelope) -> str:
    """``TIME NAMESPACE TOPIC JSON``."""
    seconds = envelope.timestamp.seconds if envelope.timestamp else 0
    nanos = envelope.timestamp.nanos if envelope.timestamp else 0
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
    body: dict[str, Any] = {}
    if envelope.event is not None:
        kind = _KINDS.get(envelope.event.type_url.rpartition("/")[2])
        body = plain(kind.decode(envelope.event.value)) if kind else {}
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    return f"{when}.{nanos:09d} +0000 UTC {envelope.namespace} {envelope.topic} {text}\n"


def plain(message: Message) -> dict[str, Any]:
    """A message as JSON values, without the fields that are not set."""
    shown: dict[str, Any] = {}
    for name in message.fields:
        value = getattr(message, name)
        if value:
            shown[name] = _plain_value(value)
    return shown


def _plain_value(value: Any) -> Any:
    if isinstance(value, Timestamp):
        return rfc3339(value)
    if isinstance(value, Message):
        return plain(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        return [_plain_value(each) for each in value]
    return value
