"""When to collect garbage: after deletions, after many changes, and when a lease expires.

containerd collects only after mutations, so that leases that expire on an idle daemon keep their
content for ever (containerd#6294); here the next expiry wakes the collector.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MUTATION_THRESHOLD = 100
"""Changes that may have freed something, after which a collection runs (containerd's default)."""
RETRY_SECONDS = 60.0


class Collector:
    """Runs ``collect`` in a thread of its own, or in the caller's for ``sync``.

    ``next_expiry`` gives the time (seconds since the epoch) at which a lease will expire, or
    ``None``; ``delay`` (seconds) joins deletions that come together into one run.
    """

    def __init__(
        self,
        collect: Callable[[], object],
        next_expiry: Callable[[], float | None],
        log: Callable[[str], None],
        *,
        delay: float = 0.5,
        start_delay: float = 0.1,
    ) -> None:
        self._collect = collect
        self._next_expiry = next_expiry
        self._log = log
        self._delay = delay
        self._changed = threading.Condition()
        self._running = threading.Lock()
        self._due: float | None = time.monotonic() + start_delay
        self._changes = 0
        self._stopped = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to run; the first collection follows shortly."""
        self._thread = threading.Thread(target=self._run, name="collector", daemon=True)
        self._thread.start()

    def freed(self, *, sync: bool = False) -> None:
        """Something was deleted that others hung on; with ``sync`` collect before returning."""
        if sync:
            self._collect_now()
            return
        with self._changed:
            self._schedule(self._delay)

    def changed(self) -> None:
        """Something changed that may leave garbage; enough of these start a collection."""
        with self._changed:
            self._changes += 1
            if self._changes >= MUTATION_THRESHOLD:
                self._schedule(self._delay)

    def leases_changed(self) -> None:
        """The next expiry may be another one now."""
        with self._changed:
            self._changed.notify_all()

    def stop(self) -> None:
        """End; a collection under way is waited for."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _schedule(self, delay: float) -> None:
        due = time.monotonic() + delay
        self._due = due if self._due is None else min(self._due, due)
        self._changed.notify_all()

    def _run(self) -> None:
        while self._wait():
            self._collect_now()

    def _wait(self) -> bool:
        """Sleep until a collection is due; False when stopped."""
        while True:
            expiry = self._expiry()
            with self._changed:
                if self._stopped:
                    return False
                left = _earliest(self._due, expiry)
                if left is not None and left <= 0:
                    return True
                self._changed.wait(left)

    def _expiry(self) -> float | None:
        try:
            return self._next_expiry()
        except Exception as problem:
            self._log(f"garbage collection does not know when leases expire: {problem}")
            return time.time() + RETRY_SECONDS

    def _collect_now(self) -> None:
        with self._running:
            with self._changed:
                self._due, self._changes = None, 0
            try:
                self._collect()
            except Exception as problem:
                # The daemon goes on without: what was to be removed waits for the next run.
                self._log(f"garbage collection failed: {problem}")
                with self._changed:
                    self._schedule(RETRY_SECONDS)


def _earliest(due: float | None, expiry: float | None) -> float | None:
    """Seconds until the first of a monotonic time and a time of day."""
    waits = [] if due is None else [due - time.monotonic()]
    if expiry is not None:
        waits.append(expiry - time.time())
    return min(waits) if waits else None
