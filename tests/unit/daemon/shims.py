"""Shims that only pretend, for tests of what the daemon makes of real ones."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinnace.errors import Unavailable

if TYPE_CHECKING:
    from pinnace.daemon.shims import OnEvent


class FakeShim:
    """Holds the processes of one container; ``end`` lets one of them exit."""

    def __init__(self, state: str) -> None:
        self.state = state
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.processes: dict[str, dict[str, Any]] = {}
        self.fail: dict[str, Exception] = {}
        self.exit_at_start: int | None = None
        self.listeners: list[tuple[OnEvent, Callable[[], None]]] = []
        self.alive = True
        self.ends_itself = False

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        if not self.alive:
            raise Unavailable("the shim is gone")
        self.calls.append((method, params))
        if method in self.fail:
            raise self.fail[method]
        handler = getattr(self, f"do_{method}", None)
        return handler(**params) if handler else {}

    def close(self) -> None:
        pass

    def do_create(self, **params: Any) -> dict[str, Any]:
        self.processes[""] = {"exec_id": "", "pid": 100, "status": "created", **_stdio(params)}
        return {"pid": 100}

    def do_exec(self, exec_id: str, **params: Any) -> dict[str, Any]:
        self.processes[exec_id] = {"exec_id": exec_id, "status": "created", **_stdio(params)}
        return {}

    def do_start(self, exec_id: str) -> dict[str, Any]:
        process = self.processes[exec_id]
        process.update(status="running", pid=process.get("pid") or 200)
        if self.exit_at_start is not None:
            self.end(exec_id, self.exit_at_start)
        return {"pid": process["pid"]}

    def do_state(self, exec_id: str | None = None) -> dict[str, Any]:
        return {"processes": list(self.processes.values())}

    def do_delete(self, last: bool) -> dict[str, Any]:
        """One of an older release does not know ``last``."""
        return {**self._result(""), **({"ended": True} if self.ends_itself and last else {})}

    def do_delete_process(self, exec_id: str) -> dict[str, Any]:
        return self._result(exec_id)

    def _result(self, exec_id: str) -> dict[str, Any]:
        process = self.processes.pop(exec_id)
        return {
            "pid": process["pid"],
            "status": process.get("exit_status", 0),
            "exited_at": process.get("exited_at", 0),
        }

    def end(self, exec_id: str, status: int) -> None:
        process = self.processes[exec_id]
        process.update(status="stopped", exit_status=status, exited_at=time.time_ns())
        event = {
            "event": "exit",
            "exec_id": exec_id,
            "pid": process["pid"],
            "status": status,
            "exited_at": process["exited_at"],
        }
        for on_event, _ in self.listeners:
            on_event(event)

    def die(self) -> None:
        self.alive = False
        for _, on_close in self.listeners:
            on_close()


def _stdio(params: dict[str, Any]) -> dict[str, Any]:
    return {name: params.get(name) for name in ("stdin", "stdout", "stderr", "terminal")}


class FakeShims:
    """Starts pretended shims; they live on when a daemon object goes, as real ones do."""

    def __init__(self) -> None:
        self.by_address: dict[str, FakeShim] = {}
        self.fail_start: Exception | None = None
        self.next_fail: dict[str, Exception] = {}

    def start(self, namespace: str, identifier: str, bundle: str, state: str) -> str:
        if self.fail_start:
            raise self.fail_start
        address = str(Path(state) / "shim.sock")
        self.by_address[address] = FakeShim(state)
        self.by_address[address].fail = dict(self.next_fail)
        return address

    def connect(self, address: str, on_event: OnEvent, on_close: Callable[[], None]) -> FakeShim:
        found = self.by_address.get(address)
        if found is None or not found.alive:
            raise Unavailable(f"no shim at {address}")
        found.listeners = [(on_event, on_close)]
        return found

    @property
    def only(self) -> FakeShim:
        (found,) = self.by_address.values()
        return found
