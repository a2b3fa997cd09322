"""A fleet without transport: each host does what the test says, the scheduling is the real one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from toolkit.errors import HostFailed
from toolkit.provision.health import Health
from toolkit.report.events import Event, Say
from toolkit.rollout.model import Applied

GOOD = Health(working=frozenset({"daemon", "web"}))
CHANGED = Applied({"ok": 3, "changed": 1})

Script = Callable[["Simulated", str], Applied]


def fine(fleet: Simulated, host: str) -> Applied:
    return CHANGED


def fails(fleet: Simulated, host: str) -> Applied:
    raise HostFailed(f"{host}: no")


def hangs(fleet: Simulated, host: str) -> Applied:
    fleet.let_go.wait(60)
    return CHANGED


class Simulated:
    """``scripts`` says what happens on a host when it is changed; the others are fine."""

    def __init__(self, scripts: Mapping[str, Script] | None = None) -> None:
        self.scripts = dict(scripts or {})
        self.health: dict[str, Callable[[], Health]] = {}
        self.let_go = threading.Event()
        self.applied: list[str] = []
        self.reverted: list[str] = []
        self.abandoned: list[str] = []
        self.most = 0
        self._at_once = 0
        self._lock = threading.Lock()

    def probe(self, host: str) -> Health:
        return self.health[host]() if host in self.health else GOOD

    def apply(self, host: str, say: Say) -> Applied:
        before = self.probe(host)
        with self._lock:
            self._at_once += 1
            self.most = max(self.most, self._at_once)
            self.applied.append(host)
        try:
            say("working")
            return replace(self.scripts.get(host, fine)(self, host), before=before)
        finally:
            with self._lock:
                self._at_once -= 1

    def revert(self, host: str, say: Say) -> None:
        self.reverted.append(host)

    def abandon(self, host: str) -> None:
        self.abandoned.append(host)


class Heard(list[Event]):
    """A sink that remembers."""

    def __call__(self, event: Event) -> None:
        self.append(event)


def soon(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until ``condition`` holds; fails after a generous while."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
