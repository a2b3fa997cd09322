"""One host: connect, learn its facts, compile its plan, have the agent do it, verify."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from roles.context import Board, Lab, Release
from toolkit import boards, console
from toolkit.arch import Arch
from toolkit.build import bundle
from toolkit.connection.hostkeys import KnownHosts
from toolkit.connection.ssh import Connection, wait_until_reachable
from toolkit.connection.sudo import SudoPassword
from toolkit.errors import HostFailed, HostUnreachable
from toolkit.inventory.settings import Settings, Target
from toolkit.plan import ship
from toolkit.plan.compile import compile_plan
from toolkit.plan.model import Plan
from toolkit.provision import bootstrap, hosts, known, status
from toolkit.provision.confirm import SECONDS, confirm, new_run
from toolkit.provision.health import Health, look
from toolkit.provision.journal import Recorder
from toolkit.provision.report import Report
from toolkit.provision.status import Seen

_REBOOT_SECONDS = 300.0
_EMULATED = 5
"""How many times longer a board of another architecture takes for everything."""
_RUNS = 4
"""Times that a plan is sent: a reboot in its middle takes another."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line chose for all hosts.

    ``status``: ask each board how it is, and show nothing of what would change. ``quiet``: changes are
    noted in the journal only. ``confirm``: seconds
    until a risky change that was not confirmed is put back; 0: it stays.
    """

    check: bool = False
    diff: bool = False
    yes: bool = False
    roles: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    skip_tags: tuple[str, ...] = ()
    prefixed: bool = False
    confirm: float = SECONDS
    status: bool = False
    quiet: bool = False
    journal: Recorder | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a host ended: the counts of its resources, and the id of the plan that it is at now."""

    counts: Mapping[str, int]
    plan: str
    handlers: int = 0
    seen: Seen | None = None
    run: str = ""
    """The id that the board knows this run by."""
    before: Health = field(default_factory=Health)
    """What worked there before, where it was asked."""

    @property
    def changed(self) -> bool:
        """Whether something changed, or an earlier run's handlers were owed."""
        return self.counts.get("changed", 0) > 0 or self.handlers > 0


class Converge:
    """One host's run; ``known`` and ``password`` are shared by all hosts of a command."""

    def __init__(
        self,
        target: Target,
        settings: Settings,
        known: KnownHosts,
        password: SudoPassword,
        options: Options,
        *,
        relative: bool = False,
    ) -> None:
        """``relative``: what worked there before must work after a risky change."""
        self._relative = relative
        self._before: Health | None = None
        self._run = new_run()
        self._connection: Connection | None = None
        self._target = target
        self._settings = settings
        self._known = known
        self._password = password
        self._options = options
        self._prefix = f"{target.name}: " if options.prefixed else ""
        self._status: Mapping[str, Any] | None = None
        self._offset = 0.0
        self._done = 0

    def run(self) -> Outcome:
        """Do it all; raises :class:`HostFailed` or :class:`HostUnreachable`."""
        target = hosts.prepare(self._target, self._known, yes=self._options.yes)
        counts: Counter[str] = Counter(ok=0, changed=0, failed=0)
        for _ in range(_RUNS):
            end, plan = self._once(target)
            counts["changed"] += end["counts"]["changed"] if end["next"] == "again" else 0
            if end["next"] != "done":
                with console.step(f"{self._prefix}reboot"):
                    reboot(target, self._known, self._password).close()
            if end["next"] != "again":
                if end.get("armed"):
                    with console.step(f"{self._prefix}confirm over a new connection"):
                        self._confirm(target)
                changed = counts["changed"] + end["counts"]["changed"]
                counted = {**end["counts"], "changed": changed}
                return Outcome(
                    counted, plan.id, end["handlers"], self._seen(changed), self.run_id,
                    self._before or Health(),
                )  # fmt: skip
        raise HostFailed(f"{self._target.name}: it wants a reboot again and again", hint="a file of Reboot(when=...) comes back at each boot")  # fmt: skip

    def _once(self, target: Target) -> tuple[dict[str, Any], Plan]:
        """One connection, one agent, the whole plan; how it ended."""
        with Connection(target, self._known, self._password) as connection:
            self._connection = connection
            if self._relative and self._before is None:
                self._before = look(connection)
            install = not self._options.check
            with bootstrap.agent(connection, install=install, prefix=self._prefix) as (
                agent,
                facts,
            ):
                known.remember(self._target.name, facts)
                self._may_provision(facts)
                plan = self._plan(facts)
                return self._apply(agent, plan), plan

    @property
    def run_id(self) -> str:
        """What the board knows this run by."""
        return self._run["id"]

    def abandon(self) -> None:
        """End the connection under a run that nobody waits for any more, from another thread."""
        if self._connection is not None:
            self._connection.close()

    def _confirm(self, target: Target) -> None:
        def connect() -> Connection:
            return Connection(target, self._known, self._password, urgent=True)

        confirm(target.name, connect, self._run, self._before or Health(), self._seconds)

    @property
    def _seconds(self) -> float:
        """How long the board waits to be told that all is well."""
        name = self._target.board
        foreign = bool(name) and boards.get(name).arch != Arch.from_machine(os.uname().machine)
        return self._options.confirm * (_EMULATED if foreign else 1)

    def _may_provision(self, facts: Mapping[str, Any]) -> None:
        name = self._target.name
        if not facts["systemd"]:
            raise HostFailed(f"{name}: systemd does not run there", hint="boards are Debian or Raspberry Pi OS, booted with systemd")  # fmt: skip
        if facts["overlay_root"] and not self._options.check:
            raise HostFailed(f"{name}: its root is an overlay that forgets everything at the next boot; nothing was changed", hint="switch the overlay file system off in raspi-config, provision, switch it on again")  # fmt: skip

    def _plan(self, facts: Mapping[str, Any]) -> Plan:
        board = Board(
            name=self._target.name,
            settings=self._settings,
            facts=facts,
            release=lambda: release_for(self._target.name, facts),
            lab=lab() if self._target.board else None,
        )
        plan = compile_plan(self._options.roles or self._settings.roles, board)
        return plan.only(self._options.tags, self._options.skip_tags)

    def _apply(self, agent: ship.Agent, plan: Plan) -> dict[str, Any]:
        options = self._options
        self._done = 0
        report = Report(
            plan, prefix=self._prefix, diff=options.diff, silent=options.status or options.quiet
        )
        message = {
            **self._plan_message(plan),
            "mode": "check" if options.check else "apply",
            "show_text": options.diff,
            "status": status.UNITS if options.status else (),
            "run": self._run,
            "confirm": self._seconds,
            "hidden": plan.hidden,
        }
        end: dict[str, Any] = {}
        try:
            for event in agent.converge(message, plan.contents, report.sent):
                if event["event"] == "status":
                    self._status = event
                    self._offset = event["time"] - time.time()
                    continue
                self._remember(event)
                report.event(event)
                self._tell_share(event, plan)
                end = event
        finally:
            report.close()
        if options.check and not (options.status or options.quiet):
            console.line("changed" if report.drifted else "ok", f"{self._prefix}would change", report.summary())  # fmt: skip
        return end

    def _plan_message(self, plan: Plan) -> dict[str, Any]:
        """The plan as the agent gets it."""
        return plan.wire()

    def _tell_share(self, event: Mapping[str, Any], plan: Plan) -> None:
        """How far the run is, for tables: resources that were dealt with, of all."""
        self._done += event["event"] == "result"
        if event["event"] == "doing" or event.get("status", "ok") != "ok":
            console.doing(str(event["id"]), min(1.0, self._done / max(1, len(plan.entries))))

    def _remember(self, event: Mapping[str, Any]) -> None:
        """Into the journal of the run: what was changed or failed, without the texts of files."""
        journal = self._options.journal
        if journal is None or event["event"] not in ("result", "handler"):
            return
        if event.get("status") != "ok":
            kept = {name: event[name] for name in ("id", "status", "changes", "name") if name in event}  # fmt: skip
            journal.record(event["event"], host=self._target.name, **kept)

    def _seen(self, drift: int) -> Seen | None:
        if self._status is None:
            return None
        told = {name: value for name, value in self._status.items() if name not in ("event", "time")}  # fmt: skip
        return Seen(told, drift, self._offset)


def reboot(target: Target, known: KnownHosts, password: SudoPassword) -> Connection:
    """Reboot a board and wait until it is up again; returns a new connection to it.

    That it was a reboot is seen from the kernel's boot id.
    """
    deadline = time.monotonic() + _REBOOT_SECONDS
    with Connection(target, known, password) as connection:
        before = _boot_id(connection)
        connection.run("systemctl", "reboot", sudo=True)
    while time.monotonic() < deadline:
        left = deadline - time.monotonic()
        again = wait_until_reachable(
            lambda: Connection(target, known, password, urgent=True), seconds=left
        )
        if _boot_id(again) not in ("", before):
            return again
        again.close()
        time.sleep(1)
    raise HostUnreachable(f"{target.name} did not reboot within {_REBOOT_SECONDS:.0f} s")


def _boot_id(connection: Connection) -> str:
    """The kernel's id of this boot; empty when the board goes down in the middle."""
    try:
        found = connection.run("cat", "/proc/sys/kernel/random/boot_id")
    except HostUnreachable:
        return ""
    return found.stdout.decode().strip()


def release_for(name: str, facts: Mapping[str, Any]) -> Release:
    """The bundle for a board's architecture and Python."""
    try:
        arch = Arch.from_machine(facts["machine"])
    except KeyError:
        raise HostFailed(f"{name}: there is no runtime for {facts['machine']}", hint="boards are armv6l, armv7l, arm64 or amd64") from None  # fmt: skip
    with console.step(f"{name}: bundle for {arch.label}") as step:
        made = bundle.build(arch, facts["python"])
        step.detail = f"{made.id}  {made.size / 1024:.0f} KiB"
    return Release(made.id, made.path, made.unpacked)


def lab() -> Lab:
    """The lab registry, as emulated boards reach it."""
    from toolkit.boards import network
    from toolkit.lab import registry

    return Lab(registry.host(), network.gateway(), registry.ca_certificate().read_bytes())
