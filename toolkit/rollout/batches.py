"""Batches: which hosts change together, and how many may fail.

Sizes are written as for Ansible's ``serial``: hosts, or a percentage of all hosts, the last one
repeated until every host has its turn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat

from toolkit.errors import UsageError

_AMOUNT = re.compile(r"(\d+)(%?)")


@dataclass(frozen=True, slots=True)
class Amount:
    """``3`` hosts, or ``10%`` of them."""

    number: int
    percent: bool = False

    def of(self, total: int) -> int:
        """How many hosts out of ``total``, rounded down."""
        return total * self.number // 100 if self.percent else self.number

    def __str__(self) -> str:
        return f"{self.number}{'%' if self.percent else ''}"


@dataclass(frozen=True, slots=True)
class Batch:
    """Hosts that change at the same time; ``name`` is ``canary`` or ``batch 1``."""

    name: str
    hosts: tuple[str, ...]


def amount(text: str, flag: str) -> Amount:
    """``text`` of the command line's ``flag``; raises :class:`UsageError`."""
    found = _AMOUNT.fullmatch(text.strip())
    if found is None or (found[2] and int(found[1]) > 100):
        raise UsageError(
            f"{flag}: {text!r} is not an amount", hint="a number of hosts, or a percentage like 10%"
        )
    return Amount(int(found[1]), bool(found[2]))


def amounts(text: str, flag: str) -> tuple[Amount, ...]:
    """``1,10%,50%``; raises :class:`UsageError` for anything else, and for batches of nobody."""
    found = tuple(amount(word, flag) for word in text.split(","))
    if any(each.number == 0 for each in found):
        raise UsageError(f"{flag}: {text!r} has a batch of no hosts", hint="1 is the smallest")
    return found


def split(
    hosts: Sequence[str], sizes: Sequence[Amount], canaries: Sequence[str] = ()
) -> list[Batch]:
    """Every host in exactly one batch, in order; ``canaries`` first, in a batch of their own.

    A percentage is of all hosts and is at least one host. Raises :class:`UsageError` for a canary
    that is not among the hosts.
    """
    strangers = [name for name in canaries if name not in hosts]
    if strangers:
        raise UsageError(
            f"--canary: {', '.join(strangers)}: not among the hosts of this rollout",
            hint="canaries are names that --limit chooses",
        )
    named = set(canaries)
    first = [Batch("canary", tuple(name for name in hosts if name in named))] if named else []
    rest = [name for name in hosts if name not in named]
    return [*first, *_batches(rest, sizes, len(hosts))]


def _batches(hosts: Sequence[str], sizes: Sequence[Amount], total: int) -> Iterator[Batch]:
    at = 0
    for number, size in enumerate(chain(sizes, repeat(sizes[-1])), 1):
        if at >= len(hosts):
            return
        end = at + max(1, size.of(total))
        yield Batch(f"batch {number}", tuple(hosts[at:end]))
        at = end
