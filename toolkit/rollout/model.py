"""What a rollout is about: the rules, the fleet it changes, and the events that say how it went."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from toolkit.provision.health import Health
from toolkit.report.events import Say
from toolkit.rollout.batches import Amount, Batch


class Revert(enum.StrEnum):
    """What is put back when more hosts failed than may."""

    NOTHING = "nothing"
    BATCH = "batch"
    ALL = "all"


NOBODY = Amount(0)


@dataclass(frozen=True, slots=True)
class Rules:
    """How a rollout goes; times are seconds.

    pause: between two batches.
    health_time: how long a host must be healthy without a break before it counts.
    health_limit: how long it may take until it was.
    host_limit: how long a host may take to change, or to be put back.
    max_fail: hosts (or a share of all) that may fail; one more stops the rollout.
    parallel: hosts at once.
    """

    batches: tuple[Batch, ...]
    max_fail: Amount = NOBODY
    pause: float = 0.0
    health_time: float = 0.0
    health_limit: float = 60.0
    host_limit: float = 1800.0
    parallel: int = 25
    revert: Revert = Revert.BATCH

    @property
    def total(self) -> int:
        return sum(len(batch.hosts) for batch in self.batches)


@dataclass(frozen=True, slots=True)
class Applied:
    """How a change ended: counts of resources by status, and the id that the host knows the run by.

    ``before``: what worked there before.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    run: str = ""
    before: Health = field(default_factory=Health)

    @property
    def changed(self) -> bool:
        return self.counts.get("changed", 0) > 0


class Fleet(Protocol):
    """The hosts. Every method may be called from several threads, once per host at a time.

    Each raises :class:`HostUnreachable` or another :class:`PinnaceError`.
    """

    def probe(self, host: str) -> Health:
        """What works on a host right now."""

    def apply(self, host: str, say: Say) -> Applied:
        """See what works on the host, and make it what its roles say."""

    def revert(self, host: str, say: Say) -> None:
        """Put back what was there before the last :meth:`apply`."""

    def abandon(self, host: str) -> None:
        """Nobody waits for the host any more: end what is under way there. Never blocks."""
