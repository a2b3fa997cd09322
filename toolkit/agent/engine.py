"""Runs a plan: look at everything, compare, check that it can be done, then change in order.

    plan -> inspect (reads only) -> diff (pure) -> preflight -> contents -> apply -> handlers

Nothing is changed before all resources were inspected, all needed space was found free, and all
contents have arrived whole.
"""

from __future__ import annotations

from toolkit.agent import confirm, preflight
from toolkit.agent.errors import AgentError, from_os
from toolkit.agent.journal import REBOOT
from toolkit.agent.kinds import load
from toolkit.agent.undo import Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from toolkit.agent.journal import Journal
    from toolkit.agent.kinds.base import Change, Contents, Resource, State
    from toolkit.agent.system import System

    Emit = Callable[..., None]
    Fetch = Callable[[list[tuple[str, int]]], Contents]


_DONE_BY_BOOT = ("restart", "reload-units")


class Engine:
    """One run over one plan. ``emit`` sends an event, ``fetch`` brings contents from the laptop."""

    def __init__(self, plan: dict[str, Any], system: System, emit: Emit, journal: Journal) -> None:
        self.resources: list[Resource] = plan["resources"]
        self.handlers: list[dict[str, Any]] = plan["handlers"]
        self._show_text = bool(plan.get("show_text"))
        self._system = system
        self._emit = emit
        self._journal = journal
        self._run_id: str = plan["run"]["id"]
        self._confirm: float = plan.get("confirm", 0)
        self._risky: list[str] = plan.get("risky", [])
        self._kinds = load(resource["kind"] for resource in self.resources)
        self.counts = {"ok": 0, "changed": 0, "failed": 0}
        self.handled = 0
        """Handlers that ran, or (``check``) would."""

    def compare(self) -> list[list[Change]]:
        """What each resource would change, by its place in the plan; only reads."""
        states: dict[int, State] = {}
        for name, kind in self._kinds.items():
            mine = [i for i, resource in enumerate(self.resources) if resource["kind"] == name]
            found = kind.inspect([self.resources[i] for i in mine], self._system)
            states.update(zip(mine, found))  # noqa: B905 - strict= came with 3.10
        self._states = states
        return [
            self._kinds[resource["kind"]].diff(resource, states[i])
            for i, resource in enumerate(self.resources)
        ]

    def check(self) -> None:
        """Tell what would change, and change nothing."""
        planned = self.compare()
        called = self._owed()
        fresh: set[str] = set()
        for i, changes in enumerate(planned):
            if self.resources[i]["kind"] == "reboot":
                changes = self._reboot_here(i, called)
            elif self._calls(i, changes):
                called += self._called([i])
                fresh -= self._restarts(i)
            fresh.add(self._kinds[self.resources[i]["kind"]].starts(self.resources[i], changes))
            self._result(i, "changed" if changes else "ok", changes)
        for handler in self.handlers:
            if handler["name"] in called and not _needless(handler, fresh):
                self.handled += 1
                self._emit("handler", name=handler["name"], would=True)

    def apply(self, fetch: Fetch) -> str:
        """Make the plan so; returns ``done``, ``reboot`` (done, but for that), or ``again``.

        ``again``: the plan wants a reboot in the middle, and has to be sent once more afterwards.
        """
        planned = self.compare()
        changing = [i for i, changes in enumerate(planned) if changes]
        owed = self._owed()
        calling = [i for i in changing if self._calls(i, planned[i])]
        if changing:
            contents = self._prepare(planned, changing, self._called(calling), fetch)
            self._guard(changing, self._called(calling))
        else:
            contents = fetch([])
        try:
            follows = self._change_all(planned, calling, owed, contents)
        except AgentError as problem:
            if confirm.armed(self._system) is None:
                raise
            raise self._back(problem) from None
        confirm.count_from_now(self._system)
        return follows

    def _change_all(
        self, planned: list[list[Change]], calling: list[int], owed: list[str], contents: Contents
    ) -> str:
        for i, changes in enumerate(planned):
            if self.resources[i]["kind"] == "reboot":
                changes = self._reboot_here(
                    i, [*owed, *self._called([c for c in calling if c < i])]
                )
                if changes:
                    self._journal.owe(dict.fromkeys([*self._owed(), REBOOT]))
                    self._result(i, "changed", changes)
                    return "again"
            if changes:
                # What was started before this change has not seen it.
                self._system.started -= self._restarts(i) if i in calling else set()
                self._change(i, changes, contents)
            else:
                self._result(i, "ok", [])
        return "reboot" if self._handle([*owed, *self._called(calling)]) else "done"

    def _guard(self, changing: list[int], called: list[str]) -> None:
        """From here on, what is changed is noted down; a risky change waits to be confirmed."""
        notes = Undo(self._system, self._run_id)
        notes.begin()
        resources = [self.resources[i] for i in changing]
        handlers = [handler for handler in self.handlers if handler["name"] in called]
        notes.units(confirm.units(resources, handlers))
        notes.commands(handler["argv"] for handler in handlers if handler["action"] == "command")
        self._system.notes = notes.path
        if self._confirm and any(confirm.risky(resource, self._risky) for resource in resources):
            confirm.arm(self._system, self._run_id, self._confirm)

    def _back(self, problem: AgentError) -> AgentError:
        """The run failed half way: nobody has to wait for the watcher to put it back."""
        self._system.notes = None
        count = confirm.put_back(self._system, self._run_id)
        self._journal.record(event="reverted", what=f"{count} things", why=problem.message)
        return AgentError(f"{problem.message}; what this run had changed is put back", problem.hint)

    def _calls(self, i: int, changes: list[Change]) -> bool:
        return self._kinds[self.resources[i]["kind"]].calls(changes)

    def _reboot_here(self, i: int, called: list[str]) -> list[Change]:
        """What a reboot resource changes, which depends on what was called before it."""
        reboots = [h["name"] for h in self.handlers if h["action"] == "reboot"]
        owed = any(name in called for name in (*reboots, REBOOT))
        self._system.reboot_owed = "what changed before" if owed else None
        kind, resource = self._kinds["reboot"], self.resources[i]
        self._states[i] = kind.look(resource, self._system)
        return kind.diff(resource, self._states[i])

    def _prepare(
        self, planned: list[list[Change]], changing: list[int], called: list[str], fetch: Fetch
    ) -> Contents:
        wanted: dict[str, int] = {}
        places = [("/var/lib/pinnace-agent/journal.jsonl", 1 << 16)]
        for i in changing:
            kind, resource = self._kinds[self.resources[i]["kind"]], self.resources[i]
            wanted.update(kind.wants(resource, planned[i]))
            places += kind.places(resource, planned[i])
        preflight.check([*places, ("/var/lib/pinnace-agent/x", sum(wanted.values()))], self._system)
        contents = fetch(sorted(wanted.items()))
        self._journal.owe(dict.fromkeys([*self._owed(), *called]))
        return contents

    def _change(self, i: int, changes: list[Change], contents: Contents) -> None:
        resource = self.resources[i]
        self._emit("doing", id=resource["id"])
        try:
            self._kinds[resource["kind"]].apply(resource, self._system, contents)
        except OSError as problem:
            self._fail(i, from_os(problem))
        except AgentError as problem:
            self._fail(i, problem)
        wire = [change.wire() for change in changes]
        self._journal.record(event="changed", id=resource["id"], changes=wire)
        self._result(i, "changed", changes)

    def _fail(self, i: int, problem: AgentError) -> None:
        resource = self.resources[i]
        self.counts["failed"] += 1
        self._journal.record(event="failed", id=resource["id"], message=problem.message)
        self._emit("result", id=resource["id"], status="failed", changes=[])
        raise AgentError(f"{resource['id']}: {problem.message}", problem.hint)

    def _result(self, i: int, status: str, changes: list[Change]) -> None:
        resource = self.resources[i]
        self.counts[status] += 1
        event: dict[str, Any] = {"id": resource["id"], "status": status}
        event["changes"] = [change.wire() for change in changes]
        if status == "changed" and self._show_text:
            event["texts"] = self._kinds[resource["kind"]].texts(resource, self._states[i])
        self._emit("result", **event)

    def _owed(self) -> list[str]:
        """What an earlier run did not get to; a boot in between started all units anew, and read their files."""
        done = {h["name"] for h in self.handlers if h["action"] in _DONE_BY_BOOT}
        rebooted = self._journal.rebooted
        return [name for name in self._journal.owed() if not (rebooted and name in done)]

    def _called(self, changing: list[int]) -> list[str]:
        return [name for i in changing for name in self.resources[i].get("notify", ())]

    def _restarts(self, i: int) -> set[str]:
        """The units whose restart a change of this resource calls for."""
        called = self._called([i])
        return {
            h["unit"] for h in self.handlers if h["action"] == "restart" and h["name"] in called
        }

    def _handle(self, called: list[str]) -> bool:
        """Run each called handler once, in the order of the plan; whether to reboot."""
        reboot = REBOOT in called
        waiting = list(dict.fromkeys(called))
        for handler in self.handlers:
            name = handler["name"]
            if name not in waiting:
                continue
            self.handled += 1
            if handler["action"] == "reboot":
                reboot = True
                continue  # owed until the board has another boot id
            if self._run(handler):
                self._emit("handler", name=name, would=False)
                self._journal.record(event="handler", name=name)
            waiting.remove(name)
            self._journal.owe(waiting)
        if called:
            # What an older plan called and this one does not know is owed no longer.
            self._journal.owe([REBOOT] if reboot else [])
        return reboot

    def _run(self, handler: dict[str, Any]) -> bool:
        """Whether it did something: a unit that was started a moment ago needs no restart."""
        from toolkit.agent.kinds import units

        if _needless(handler, self._system.started):
            return False
        if handler["action"] == "restart":
            units.start("restart", handler["unit"], self._system)
        elif handler["action"] == "reload-units":
            if self._system.units_changed:
                units.reload_units(self._system)
        else:
            self._system.check(handler["argv"])
        return True


def _needless(handler: dict[str, Any], started: set[str]) -> bool:
    """A unit that was ``started`` since what it reads has changed needs no restart."""
    return handler["action"] == "restart" and handler["unit"] in started
