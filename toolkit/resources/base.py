"""The parts of every resource: its name in a plan, its contents, and what it calls when it changes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from toolkit.secrets.secret import Secret

_CHUNK = 1 << 16


@dataclass(frozen=True)
class Content:
    """Bytes that a board may need: in memory, in a file of this machine (an image may be large), or secret.

    With a ``key`` (hexadecimal) the digest is a keyed one, which tells nobody whether a guess is right.
    """

    source: bytes | Path | Secret = field(repr=False)
    key: str = ""

    @property
    def data(self) -> bytes:
        return b"".join(self.chunks())

    def chunks(self) -> Iterator[bytes]:
        """The bytes, a piece at a time."""
        if not isinstance(self.source, Path):
            data = self.source.reveal() if isinstance(self.source, Secret) else self.source
            for start in range(0, len(data), _CHUNK):
                yield data[start : start + _CHUNK]
        else:
            with self.source.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    yield chunk

    @cached_property
    def digest(self) -> str:
        """SHA-256, or with a key BLAKE2b of 32 bytes, in hexadecimal."""
        key = bytes.fromhex(self.key)
        state = hashlib.blake2b(key=key, digest_size=32) if key else hashlib.sha256()
        for chunk in self.chunks():
            state.update(chunk)
        return state.hexdigest()

    @property
    def size(self) -> int:
        if isinstance(self.source, Path):
            return self.source.stat().st_size
        return len(self.source.reveal() if isinstance(self.source, Secret) else self.source)

    @property
    def leaves(self) -> tuple[Secret, ...]:
        """The secrets in it."""
        return self.source.leaves if isinstance(self.source, Secret) else ()

    def wire(self) -> dict[str, Any]:
        """How a plan names it."""
        return {"digest": self.digest, "size": self.size, "key": self.key}


@dataclass(frozen=True)
class Handler:
    """What has to happen once, at the end, when something that ``notify``s it has changed.

    ``action``: ``restart`` (``unit``), ``reload-units``, ``command`` (``argv``), ``reboot``.
    """

    name: str
    action: str
    unit: str = ""
    argv: tuple[str, ...] = ()

    @classmethod
    def restart(cls, unit: str) -> Handler:
        return cls(f"restart {unit}", "restart", unit=unit)

    @classmethod
    def command(cls, *argv: str) -> Handler:
        return cls(" ".join(argv), "command", argv=argv)

    def wire(self) -> dict[str, Any]:
        return {"name": self.name, "action": self.action, "unit": self.unit, "argv": self.argv}


RELOAD_UNITS = Handler("reload units", "reload-units")
REBOOT = Handler("reboot", "reboot")


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One thing that a board should have; subclasses say what.

    ``notify``: what has to happen at the end when it changed. ``tags``: words that ``--tags`` and
    ``--skip-tags`` choose it by; the name of its role is always one.
    """

    kind: ClassVar[str]
    notify: tuple[Handler, ...] = field(default=())
    tags: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        """What a person calls it: a path, a unit, a parameter."""
        raise NotImplementedError

    @property
    def id(self) -> str:
        """Unique in a plan."""
        return f"{self.kind} {self.name}"

    @property
    def contents(self) -> tuple[Content, ...]:
        """What the agent may ask for."""
        return ()

    @property
    def handlers(self) -> tuple[Handler, ...]:
        """What the resource calls when it changed: ``notify``, and what its kind needs itself."""
        return self.notify

    def wanted(self) -> dict[str, Any]:
        """The fields that the agent's kind reads."""
        raise NotImplementedError

    def wire(self) -> dict[str, Any]:
        """This resource in a plan."""
        notify = [handler.name for handler in self.handlers]
        return {"kind": self.kind, "id": self.id, "notify": notify, **self.wanted()}
