"""What happened, as it stands in journals, in ``--json`` and in every report."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from toolkit.errors import PinnaceError
from toolkit.secrets.mask import masked, without_secrets

_SAID = frozenset({"changes", "hint", "why"})


class Status(enum.StrEnum):
    """Where a host is. The last six are ends; a host that ended is not touched again."""

    WAITING = "waiting"
    COMPARING = "comparing"
    CHANGING = "changing"
    WATCHING = "watching"
    VERIFYING = "verifying"
    REVERTING = "reverting"
    OK = "ok"
    CHANGED = "changed"
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    REVERTED = "reverted"
    STUCK = "not reverted"

    @property
    def ended(self) -> bool:
        return self not in _UNDER_WAY

    @property
    def bad(self) -> bool:
        return self in _BAD


_UNDER_WAY = frozenset(
    {Status.WAITING, Status.COMPARING, Status.CHANGING, Status.WATCHING, Status.VERIFYING, Status.REVERTING}
)  # fmt: skip
_BAD = frozenset({Status.FAILED, Status.UNREACHABLE, Status.STUCK})


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, as it stands in the journal and in ``--json``.

    name: begin, batch, host, doing, result, handler, check, stop or end; host: whom it is about, or empty.
    """

    at: float
    name: str
    host: str = ""
    status: Status | None = None
    detail: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # What boards and programs say may repeat a secret; names of hosts and resources do not.
        object.__setattr__(self, "detail", masked(self.detail))
        said = {key: without_secrets(self.data[key]) for key in _SAID & self.data.keys()}
        if said:
            object.__setattr__(self, "data", {**self.data, **said})

    def wire(self) -> dict[str, Any]:
        """As JSON, without what is empty."""
        found: dict[str, Any] = {"at": round(self.at, 3), "event": self.name}
        for key in ("host", "status", "detail"):
            if getattr(self, key):
                found[key] = str(getattr(self, key))
        return {**found, **self.data}

    @classmethod
    def ended(cls, host: str, status: Status, problem: PinnaceError) -> Event:
        """``host`` came to a bad end, now; what is said of it does not name the host once more."""
        hint = {"hint": problem.hint} if problem.hint else {}
        return cls(
            time.time(), "host", host, status, problem.message.removeprefix(f"{host}: "), hint
        )

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Event:
        """What :meth:`wire` wrote."""
        known = ("at", "event", "host", "status", "detail")
        return cls(
            found["at"], found["event"], found.get("host", ""),
            Status(found["status"]) if "status" in found else None, found.get("detail", ""),
            {key: value for key, value in found.items() if key not in known},
        )  # fmt: skip


Sink = Callable[[Event], None]

Say = Callable[[str], None]
"""Told what a host is doing right now."""
