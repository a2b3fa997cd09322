"""Transfers side by side: several blobs at once, down or up."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pinnace.errors import Aborted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Jobs:
    """Runs jobs in a few threads, in order; whoever needs a result waits for it.

    A job that fails sets *stop*, on which the others are to raise Aborted soon.
    """

    def __init__(
        self, jobs: Sequence[Callable[[], bool]], parallel: int, stop: threading.Event
    ) -> None:
        self._jobs = jobs
        self._stop = stop
        self._next = 0
        self._lock = threading.Lock()
        self._done = [threading.Event() for _ in jobs]
        self._results: list[bool | BaseException | None] = [None] * len(jobs)
        self._threads = [
            threading.Thread(target=self._run, name=f"transfer-{n}", daemon=True)
            for n in range(min(parallel, len(jobs)))
        ]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while True:
            with self._lock:
                number = self._next
                self._next += 1
            if number >= len(self._jobs):
                return
            try:
                self._results[number] = self._jobs[number]()
            except BaseException as error:  # handed to whoever waits
                self._results[number] = error
                self._stop.set()
            self._done[number].set()

    def result(self, number: int) -> bool:
        """What job *number* returned, once it did; raises what it raised, or the first failure."""
        self._done[number].wait()
        result = self._results[number]
        if isinstance(result, Aborted):
            self._raise_first()
        if isinstance(result, BaseException):
            raise result
        return bool(result)

    def succeeded(self, number: int) -> bool:
        """Whether job *number* returned True, as far as it is known now."""
        return self._results[number] is True

    def _raise_first(self) -> None:
        """The failure that stopped the others, rather than that they were stopped."""
        for other in list(self._results):
            if isinstance(other, BaseException) and not isinstance(other, Aborted):
                raise other

    def finish(self) -> None:
        """Wait for all threads; call it whatever happened, after setting *stop* on failure."""
        for thread in self._threads:
            thread.join()
