"""``./inv provision``: everything that can be wrong on this machine is said before a board is touched."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from toolkit import console
from toolkit.connection.hostkeys import KnownHosts
from toolkit.connection.sudo import SudoPassword, asked_for
from toolkit.errors import DriftFound, HostUnreachable, PinnaceError
from toolkit.plan.compile import check_roles
from toolkit.provision import status as shown_status
from toolkit.provision.converge import Converge, Options, Outcome
from toolkit.provision.follow import Follower, Noted, Output, Say
from toolkit.provision.journal import RunJournal, by
from toolkit.provision.selection import Selected, exit_status, select
from toolkit.provision.status import Seen
from toolkit.report.together import Told, together
from toolkit.secrets.mask import masked
from toolkit.verify import command as verification
from toolkit.verify.session import Case

PARALLEL = 4
"""Boards at once, unless ``--parallel`` says otherwise."""
_FOREVER = 7 * 86400.0
"""Seconds: every wait in a run has a limit of its own."""


@dataclass(frozen=True, slots=True)
class Access:
    """How hosts are reached, the same for all."""

    known: KnownHosts
    password: SudoPassword


def run(
    pattern: str,
    *,
    inventory: str = "",
    options: Options,
    accept_new: bool = False,
    ask_sudo_password: bool = False,
    ask_password: bool = False,
    verify: bool = True,
    output: Output = Output(),  # noqa: B008 - a frozen value
    parallel: int = PARALLEL,
    converge: Callable[..., Converge] | None = None,
) -> int:
    """Provision the hosts and verify them; returns the exit status.

    ``converge`` makes the run of a host, where its plan does not come from the roles: then nothing but SSH
    is needed, and no lab registry is. Raises :class:`DriftFound` when ``--check`` found differences.
    """
    chosen = select(pattern, inventory)
    check_roles(options.roles)
    access = Access(KnownHosts(accept_new=accept_new), asked_for(sudo=ask_sudo_password, login=ask_password))  # fmt: skip
    names = [host.target.name for host in chosen]
    notes = RunJournal("check" if options.check else "provision", by(), hosts=names, roles=options.roles, tags=options.tags, skip_tags=options.skip_tags)  # fmt: skip
    if converge is None:
        lab_for(chosen, yes=options.yes)
    follower = Follower("plan" if options.check else "provision", names, output, looking=options.check)  # fmt: skip
    options = replace(options, prefixed=len(chosen) > 1 and follower.lines, quiet=not follower.lines)  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="pinnace-") as suites:
        try:
            results = _converge_all(
                chosen, access, options, notes, follower, parallel, converge or Converge
            )
            follower.recap()
            if verify and not options.check:
                _verify_all(chosen, access, results, follower, Path(suites), quiet=output.json, wanted=bool(output.junit))  # fmt: skip
            for name, result in results.items():
                notes.record("host", host=name, ended=_ended(result))
            status = _exit_status(results, check=options.check)
            follower.close(status)
        finally:
            follower.write(sorted(Path(suites).glob("*.xml")))
    notes.close(status)
    if status == DriftFound.exit_code:
        drifted = [n for n, found in results.items() if isinstance(found, Outcome) and found.changed]  # fmt: skip
        raise DriftFound(f"{', '.join(drifted)}: differs from what the roles say", hint="./inv provision changes it")  # fmt: skip
    return status


def _converge_all(
    chosen: Sequence[Selected], access: Access, options: Options, notes: RunJournal, follower: Follower, parallel: int,
    make: Callable[..., Converge],
) -> dict[str, Outcome | PinnaceError]:  # fmt: skip
    def converge(host: Selected, say: Say) -> Outcome:
        mine = replace(options, journal=Noted(notes, say))
        with follower.listening(say):
            return make(host.target, host.settings, access.known, access.password, mine).run()

    with follower.working():
        return _each(chosen, converge, parallel, follower.hear)


def _verify_all(
    chosen: Sequence[Selected],
    access: Access,
    results: dict[str, Outcome | PinnaceError],
    follower: Follower,
    suites: Path,
    *,
    quiet: bool,
    wanted: bool,
) -> None:
    """One board after the other; what is wrong with one is its result."""
    for host in chosen:
        name = host.target.name
        result = results[name]
        if not isinstance(result, Outcome):
            continue
        follower.verifying(name)
        tell = partial(_check, follower, name) if quiet else None
        path = str(suites / f"{name}.xml") if wanted else ""
        problem = verification.after_converge(host, access.known, access.password, result, junit=path, tell=tell)  # fmt: skip
        results[name] = problem or result
        follower.ended(name, results[name])


def _check(follower: Follower, host: str, case: Case) -> None:
    said = {"name": f"{case.module}: {case.name}", "outcome": case.outcome, "why": masked(case.why)}
    follower.check(host, {**said, "seconds": round(case.seconds, 3)})


def _exit_status(results: Mapping[str, Outcome | PinnaceError], *, check: bool) -> int:
    status = exit_status(list(results.values()))
    drift = check and any(isinstance(found, Outcome) and found.changed for found in results.values())  # fmt: skip
    return DriftFound.exit_code if drift and not status else status


def status(
    pattern: str,
    *,
    inventory: str = "",
    accept_new: bool = False,
    ask_sudo_password: bool = False,
    ask_password: bool = False,
    parallel: int = PARALLEL,
    as_json: bool = False,
) -> int:
    """Show how the hosts are; returns the exit status, in which drift does not count."""
    chosen = select(pattern, inventory)
    options = Options(check=True, status=True, prefixed=True)
    known = KnownHosts(accept_new=accept_new)
    password = asked_for(sudo=ask_sudo_password, login=ask_password)

    def look(host: Selected, say: Say) -> Outcome:
        return Converge(host.target, host.settings, known, password, options).run()

    def hear(told: Told) -> None:
        if told.problem is not None:
            console.error(told.problem)

    results = _each(chosen, look, parallel, hear)
    seen: dict[str, Seen | PinnaceError] = {}
    for name, result in results.items():
        found = result.seen if isinstance(result, Outcome) else result
        assert found is not None
        seen[name] = found
    shown_status.show(seen, as_json=as_json)
    return exit_status(list(results.values()))


def _ended(result: Outcome | PinnaceError) -> dict[str, object]:
    if isinstance(result, Outcome):
        return dict(result.counts)
    return {"unreachable" if isinstance(result, HostUnreachable) else "failed": result.message}


def _each(
    chosen: Sequence[Selected],
    work: Callable[[Selected, Say], Outcome],
    parallel: int,
    hear: Callable[[Told], None],
) -> dict[str, Outcome | PinnaceError]:
    """What each host ended with, in the order of ``chosen``; ``hear`` is told as it happens."""
    hosts = {host.target.name: host for host in chosen}
    results: dict[str, Outcome | PinnaceError] = {}
    for told in together(
        hosts, lambda name, say: work(hosts[name], say), parallel=parallel, limit=_FOREVER, abandon=lambda _: None
    ):  # fmt: skip
        if told.problem is not None:
            results[told.host] = told.problem
        elif isinstance(told.result, Outcome):
            results[told.host] = told.result
        hear(told)
    return {name: results[name] for name in hosts}


def lab_for(chosen: list[Selected], *, yes: bool) -> None:
    """Emulated boards, where some are chosen, pull from the lab registry: it runs and has their images.

    What this machine needs for both is asked for here, once. Without root, boards under user
    emulation that run are provisioned as they are, against the registry that was started with them.
    """
    from toolkit import boards

    emulated = [boards.get(host.target.board) for host in chosen if host.target.board]
    if not emulated:
        return
    # Imported late: a run over real boards needs none of it.
    from toolkit.boards.emulated import need_machine
    from toolkit.lab import registry

    on_our_kernel = [board for board in emulated if board.tier != "system"]
    if on_our_kernel:
        if os.geteuid() != 0 and all(board.is_running for board in emulated):
            return
        need_machine(f"starting {' '.join(board.name for board in on_our_kernel)}", yes=yes)
    registry.start(yes=yes)
    registry.fill({board.arch for board in emulated})
