"""The parts of every resource: its name in a plan, its contents, and what it calls when it changes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar


@dataclass(frozen=True)
class Content:
    """Bytes that a board may need: in memory, or in a file of this machine."""

    source: bytes | Path

    @cached_property
    def data(self) -> bytes:
        return self.source if isinstance(self.source, bytes) else self.source.read_bytes()

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def size(self) -> int:
        return len(self.data)


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
    """One thing that a board should have; subclasses say what."""

    kind: ClassVar[str]
    notify: tuple[Handler, ...] = field(default=())

    @property
    def name(self) -> str:
        """What a person calls it: a path, a unit, a parameter."""
        raise NotImplementedError

    @property
    def id(self) -> str:
        """Unique in a plan."""
        return f"{self.kind} {self.name}"

    @property
    def content(self) -> Content | None:
        """What the agent may ask for."""
        return None

    def wanted(self) -> dict[str, Any]:
        """The fields that the agent's kind reads."""
        raise NotImplementedError

    def wire(self) -> dict[str, Any]:
        """This resource in a plan."""
        notify = [handler.name for handler in self.notify]
        return {"kind": self.kind, "id": self.id, "notify": notify, **self.wanted()}
