"""Streams by name: one call makes a stream, another finds it (containerd's Streaming service)."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

from pinnace.errors import AlreadyExists, InvalidArgument, NotFound

S = TypeVar("S")

MAX_STREAMS = 1000


class Streams(Generic[S]):
    """The streams of each namespace."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._streams: dict[tuple[str, str], S] = {}

    def add(self, namespace: str, name: str, stream: S) -> None:
        """Raises AlreadyExists, InvalidArgument."""
        if not name:
            raise InvalidArgument("stream id must not be empty")
        with self._lock:
            if (namespace, name) in self._streams:
                raise AlreadyExists(f'stream "{name}": already exists')
            if len(self._streams) >= MAX_STREAMS:
                raise InvalidArgument(f"more than {MAX_STREAMS} streams are open")
            self._streams[namespace, name] = stream

    def get(self, namespace: str, name: str) -> S:
        """Raises NotFound."""
        found = self._streams.get((namespace, name))
        if found is None:
            raise NotFound(f'stream "{name}": not found')
        return found

    def remove(self, namespace: str, name: str) -> None:
        with self._lock:
            self._streams.pop((namespace, name), None)
