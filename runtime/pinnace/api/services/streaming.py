"""The Streaming service: opens a stream under a name, for a Transfer call to find."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema import streaming as wire
from pinnace.api.schema.wellknown import Any, Empty
from pinnace.api.streams import NamedStream
from pinnace.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pinnace.api.server import Context
    from pinnace.daemon.daemon import Daemon

SCHEMA = wire.Streaming


class Service:
    def __init__(self, daemon: Daemon) -> None:
        self._streams = daemon.streams

    def stream(self, requests: Iterator[Any], context: Context) -> Iterator[Any]:
        """The first message names the stream; an empty answer says that it is known."""
        namespace = context.namespace
        first = next(requests, None)
        if first is None:
            raise InvalidArgument("a stream must begin with its name")
        name = first.unpack(wire.StreamInit).id
        stream = NamedStream(requests)
        self._streams.add(namespace, name, stream)
        try:
            context.on_cancel(stream.abandon)
            yield Any.pack(Empty())
            yield from stream.outgoing()
        finally:
            stream.abandon()
            self._streams.remove(namespace, name)
