"""``./inv verify``: each board's tests as a table, and JUnit for machines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit import boards, console
from toolkit.boards import capability
from toolkit.connection.hostkeys import KnownHosts
from toolkit.connection.ssh import Connection
from toolkit.connection.sudo import SudoPassword, asked_for
from toolkit.errors import HostFailed, PinnaceError
from toolkit.inventory.settings import Target
from toolkit.paths import give_to_user, state_dir
from toolkit.provision import hosts
from toolkit.provision.converge import Outcome
from toolkit.provision.converge import reboot as reboot_board
from toolkit.provision.selection import Selected, exit_status, select

if TYPE_CHECKING:
    from toolkit.verify import session

_STATUS = {"passed": "ok", "failed": "failed"}


def run(
    pattern: str,
    *,
    inventory: str = "",
    junit: str = "",
    accept_new: bool = False,
    ask_sudo_password: bool = False,
    ask_password: bool = False,
    reboot: bool = True,
    only: str = "",
    yes: bool = False,
) -> int:
    """Verify the hosts one after the other; returns the exit status."""
    from toolkit.verify import session

    chosen, wanted = select(pattern, inventory), session.modules(only)
    known = KnownHosts(accept_new=accept_new)
    password = asked_for(sudo=ask_sudo_password, login=ask_password)
    problems = []
    for host in chosen:
        path = junit_path(junit, host.target.name, several=len(chosen) > 1)
        problem = attempt(host, known, password, junit=path, reboot=reboot, yes=yes, only=wanted)
        if problem is not None:
            problems.append(problem)
    return exit_status(problems)


def after_converge(
    host: Selected,
    known: KnownHosts,
    password: SudoPassword,
    outcome: Outcome,
    *,
    junit: str,
    tell: Callable[[session.Case], None] | None = None,
) -> PinnaceError | None:
    """Verify a host that was just provisioned; returns what is wrong with it.

    A host that this very plan passed on before, and on which nothing had to be changed, is left alone,
    unless a report is wanted; so is one that is to have no runtime. Only an emulated board is rebooted: a real one may be at work. With ``tell``
    that is told of each check, and nothing is printed.
    """
    name = host.target.name
    if "runtime" not in host.settings.roles and not junit:
        return None  # the tests are the runtime's
    note = state_dir("verified") / name
    passed = note.read_text() if note.exists() else ""
    if passed == outcome.plan and not outcome.changed and not junit:
        if tell is None:
            console.line("skipped", f"verify {name}", f"unchanged since it passed; ./inv verify --host {name}")  # fmt: skip
        return None
    note.unlink(missing_ok=True)
    problem = attempt(host, known, password, junit=junit, reboot=bool(host.target.board), tell=tell)
    if problem is None:
        note.write_text(outcome.plan)
        give_to_user(note)
    return problem


def attempt(
    host: Selected,
    known: KnownHosts,
    password: SudoPassword,
    *,
    junit: str = "",
    reboot: bool = True,
    yes: bool = False,
    tell: Callable[[session.Case], None] | None = None,
    only: Sequence[str] = (),
) -> PinnaceError | None:
    """Verify one host by all tests or the modules ``only``, showing how or telling ``tell``; returns what is wrong with it."""
    started, name = time.monotonic(), host.target.name
    from toolkit.verify import (
        session,
    )  # it imports pytest, which a run that changes nothing does not need

    cases: list[session.Case] = []
    problem: PinnaceError | None = None
    try:
        target = hosts.prepare(host.target, known, yes=yes)
        connection = hosts.connect(target, known, password)
        restart = _restart(host.target, known, password) if reboot else None  # its port may change
        subject = session.Subject(connection, target, host.settings, restart, _shown(target))
        cases = session.run(subject, junit=junit, tell=tell or _tell, only=only)
    except PinnaceError as found:
        if tell is None:
            console.error(found)
        problem = found
    failed = [case for case in cases if case.outcome == "failed"]
    if failed:
        what = failed[0].name if len(failed) == 1 else f"{len(failed)} checks"
        problem = HostFailed(f"{name}: {what} failed")
    if tell is not None:
        return problem
    console.table(
        ("check", "result", "seconds", "why"),
        list(_rows(cases)),
        title=f"verification of {name}",
    )
    counts = {
        outcome: sum(1 for case in cases if case.outcome == outcome)
        for outcome in ("passed", "skipped", "failed")
    }
    console.recap(name, counts, time.monotonic() - started)
    return problem


def _shown(target: Target) -> frozenset[str]:
    """What the board can show; real hardware everything but what only a lab can do with it."""
    return boards.get(target.board).shows if target.board else capability.REAL_BOARD


def _tell(case: session.Case) -> None:
    if case.outcome != "skipped":  # the table says it once for all of a kind
        console.line(_STATUS[case.outcome], f"{case.module}: {case.name}", case.why, case.seconds)


def _rows(cases: list[session.Case]) -> Iterator[tuple[str, str, str, str]]:
    """A row for each check that ran, and one for all of a module that were skipped for one reason."""
    skipped: dict[tuple[str, str], list[session.Case]] = {}
    for case in cases:
        if case.outcome == "skipped":
            skipped.setdefault((case.module, case.why), []).append(case)
        else:
            name = f"{case.module}: {case.name}"
            yield name, case.outcome, f"{case.seconds:.1f}", case.why
    for (module, why), them in skipped.items():
        name = them[0].name if len(them) == 1 else f"{len(them)} checks"
        yield f"{module}: {name}", "skipped", "", why


def junit_path(junit: str, host: str, *, several: bool) -> str:
    """One file for each host where there are several: ``report.xml`` becomes ``report-pi.xml``."""
    if not junit or not several:
        return junit
    path = Path(junit)
    return str(path.with_name(f"{path.stem}-{host}{path.suffix}"))


def _restart(target: Target, known: KnownHosts, password: SudoPassword) -> session.Restart:
    """How to reboot this board and come back."""

    def emulated() -> Connection:
        board = boards.get(target.board)
        board.stop()
        board.start()
        return hosts.connect(hosts.prepare(target, known, yes=False), known, password)

    def real() -> Connection:
        return reboot_board(target, known, password)

    return emulated if target.board else real
