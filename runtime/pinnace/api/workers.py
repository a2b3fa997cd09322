"""Threads that are kept for a short while: a burst of calls is fast, an idle daemon small."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Job = Callable[[], None]

IDLE_SECONDS = 5.0


class Workers:
    """Runs each job at once, in a thread that is free or in a new one."""

    def __init__(self, name: str, on_rest: Job = lambda: None) -> None:
        """``on_rest`` is called when nothing has come for a while and the last free thread goes."""
        self._name = name
        self._on_rest = on_rest
        self._changed = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._idle = 0

    def submit(self, job: Job) -> None:
        """Start ``job``; it has to handle its own errors. Raises RuntimeError without threads."""
        with self._changed:
            self._jobs.append(job)
            if self._idle >= len(self._jobs):
                self._changed.notify()
                return
        try:
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        except RuntimeError:
            # No more threads: the job must not wait for one that may never come.
            with self._changed:
                if job in self._jobs:
                    self._jobs.remove(job)
                    raise

    def _work(self) -> None:
        while (job := self._next()) is not None:
            job()
        if not self._idle:
            self._on_rest()

    def _next(self) -> Job | None:
        with self._changed:
            if not self._jobs:
                self._idle += 1
                end = time.monotonic() + IDLE_SECONDS
                # Who was notified may find that a thread that was just done has taken the job.
                while not self._jobs and (left := end - time.monotonic()) > 0:
                    self._changed.wait(left)
                self._idle -= 1
            return self._jobs.popleft() if self._jobs else None
