"""Contents that the laptop sends: large ones wait on disk, secret ones in this process's memory only."""

from __future__ import annotations

import hashlib
import os
import zlib

from toolkit.agent.errors import AgentError
from toolkit.agent.system import SPOOL, System, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_CHUNK = 1 << 16
_LARGEST_SECRET = 1 << 20


def hasher(key: str) -> Any:
    """What makes the digest of a content: SHA-256, or BLAKE2b with the ``key`` (hexadecimal) of a secret."""
    return hashlib.blake2b(key=bytes.fromhex(key), digest_size=32) if key else hashlib.sha256()


class Arrived:
    """The contents of one run; ``keys``: those of the secret ones, by digest."""

    def __init__(self, system: System, keys: dict[str, str]) -> None:
        self._system = system
        self._keys = keys
        self._secrets: dict[str, bytes] = {}
        if keys:
            # What a crash leaves would have them.
            import resource

            hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
            resource.setrlimit(resource.RLIMIT_CORE, (0, hard))

    def receive(self, digest: str, size: int, frame: Callable[[], bytes]) -> None:
        """One content from ``frame``; raises :class:`AgentError` unless it is what its digest and size say."""
        key = self._keys.get(digest, "")
        if key and size > _LARGEST_SECRET:
            raise AgentError("a secret is too large to be kept in memory")
        state, chunks = hasher(key), _inflated(size, frame)
        if key:
            data = b"".join(chunks)
            state.update(data)
            self._secrets[digest] = data
            arrived = len(data)
        else:
            arrived = self._spool(digest, chunks, state)
        if arrived != size or state.hexdigest() != digest:
            raise AgentError(f"content {digest[:12]} arrived damaged", "run again")

    def _spool(self, digest: str, chunks: Iterator[bytes], state: Any) -> int:
        arrived = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self._system.spooled(digest), flags, 0o600)
        try:
            for data in chunks:
                arrived += len(data)
                state.update(data)
                write_all(fd, data)
        finally:
            os.close(fd)
        return arrived

    def read(self, digest: str) -> Iterator[bytes]:
        """A content, a piece at a time."""
        if digest in self._secrets:
            yield self._secrets[digest]
            return
        with open(self._system.spooled(digest), "rb") as file:
            yield from iter(lambda: file.read(_CHUNK), b"")

    def prepare(self) -> None:
        """An empty place for what comes."""
        self.clear()
        self._system.make_directory(os.path.dirname(SPOOL), 0o700)
        self._system.make_directory(SPOOL, 0o700)

    def clear(self) -> None:
        """Forget everything."""
        self._secrets.clear()
        spool = self._system.path(SPOOL)
        if os.path.isdir(spool):
            for name in os.listdir(spool):
                os.unlink(os.path.join(spool, name))
            os.rmdir(spool)


def _inflated(size: int, frame: Callable[[], bytes]) -> Iterator[bytes]:
    """At most ``size`` bytes and one more of what the frames up to an empty one hold."""
    arrived, inflate = 0, zlib.decompressobj()
    for squeezed in iter(frame, b""):
        data = inflate.decompress(squeezed, size - arrived + 1)
        arrived += len(data)
        yield data
        if arrived > size or inflate.unconsumed_tail:
            raise AgentError("a content is longer than announced")
