"""What a recipe may look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from toolkit.errors import UsageError
from toolkit.inventory.settings import Settings
from toolkit.resources import Resource
from toolkit.secrets.secret import Secret

CURRENT = "/opt/pinnace/current"


@dataclass(frozen=True, slots=True)
class Lab:
    """The lab registry that emulated boards pull from: name, address, certificate authority (PEM)."""

    host: str
    address: str
    ca: bytes


@dataclass(frozen=True, slots=True)
class Release:
    """A bundle that was built for the board."""

    id: str
    archive: Any
    unpacked: int


@dataclass(frozen=True, slots=True)
class Board:
    """One board as a recipe sees it.

    Attributes:
        settings: the inventory's variables for it.
        facts: what the agent found there (``toolkit/agent/facts.py``).
        release: builds the runtime for its architecture and Python when a recipe asks.
        lab: the lab registry, for emulated boards.
    """

    name: str
    settings: Settings
    facts: Mapping[str, Any]
    release: Callable[[], Release]
    lab: Lab | None = field(default=None)

    @property
    def emulated(self) -> bool:
        return self.lab is not None

    def secret(self, name: str) -> Secret:
        """What the inventory's ``secrets`` has under ``name``; raises :class:`UsageError` for nothing."""
        if name not in self.settings.secrets:
            known = ", ".join(sorted(self.settings.secrets)) or "none"
            raise UsageError(f"{self.name}: no secret {name!r} in the inventory", hint=f"secrets has: {known}")  # fmt: skip
        return self.settings.secrets[name]


Recipe = Callable[[Board], Iterator[Resource]]
