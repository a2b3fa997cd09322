"""Work on many hosts at once, where one that is slow or dead never holds the others."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from toolkit.errors import HostFailed, PinnaceError


@dataclass(frozen=True, slots=True)
class Told:
    """A worker's word about a host; the last one of each host has a ``result`` or a ``problem``."""

    host: str
    word: object = None
    result: object = None
    problem: PinnaceError | None = None
    last: bool = False


Work = Callable[[str, Callable[[object], None]], object]
"""Called with a host and with what to call for a word in between; raises :class:`PinnaceError`."""


class _Attempt:
    """One host's thread. Threads are daemons: one that hangs does not keep the program."""

    def __init__(self, host: str, work: Work, told: queue.SimpleQueue[tuple[_Attempt, Told]]):
        self.host = host
        self._work = work
        self._told = told
        self.began = time.monotonic()
        threading.Thread(target=self._run, name=host, daemon=True).start()

    def _run(self) -> None:
        try:
            end = Told(self.host, result=self._work(self.host, self._say), last=True)
        except PinnaceError as problem:
            end = Told(self.host, problem=problem, last=True)
        except Exception as problem:  # a host's surprise must not end the others
            text = f"{self.host}: {type(problem).__name__}: {problem}"
            end = Told(self.host, problem=HostFailed(text, hint="this is a bug; please report it"), last=True)  # fmt: skip
        self._told.put((self, end))

    def _say(self, word: object) -> None:
        self._told.put((self, Told(self.host, word=word)))


def together(
    hosts: Iterable[str], work: Work, *, parallel: int, limit: float, abandon: Callable[[str], None]
) -> Iterator[Told]:
    """What is told of ``hosts``, in the order in which it happens, until each had its last word.

    At most ``parallel`` hosts are at work; one that takes longer than ``limit`` seconds fails, is
    given to ``abandon``, and nothing that it says afterwards is passed on.
    """
    waiting, told = deque(hosts), queue.SimpleQueue[tuple[_Attempt, Told]]()
    active: set[_Attempt] = set()
    while waiting or active:
        while waiting and len(active) < max(1, parallel):
            active.add(_Attempt(waiting.popleft(), work, told))
        oldest = min(attempt.began for attempt in active)
        try:
            attempt, found = told.get(timeout=max(0.0, oldest + limit - time.monotonic()))
        except queue.Empty:
            yield from _late(active, limit, abandon)
            continue
        if attempt in active:
            if found.last:
                active.discard(attempt)
            yield found


def _late(active: set[_Attempt], limit: float, abandon: Callable[[str], None]) -> Iterator[Told]:
    now = time.monotonic()
    for attempt in [each for each in active if now - each.began >= limit]:
        active.discard(attempt)
        abandon(attempt.host)
        yield Told(attempt.host, problem=HostFailed(f"{attempt.host}: not done after {limit:.0f} s"), last=True)  # fmt: skip
