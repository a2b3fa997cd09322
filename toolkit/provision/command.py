"""``./inv provision``: everything that can be wrong on this machine is said before a board is touched."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from toolkit import console
from toolkit.connection.hostkeys import KnownHosts
from toolkit.connection.sudo import SudoPassword, asked_for
from toolkit.errors import DriftFound, HostUnreachable, PinnaceError
from toolkit.plan.compile import check_roles
from toolkit.provision import status as shown_status
from toolkit.provision.converge import Converge, Options, Outcome
from toolkit.provision.journal import RunJournal, by
from toolkit.provision.selection import Selected, exit_status, select
from toolkit.provision.status import Seen
from toolkit.verify import command as verification

PARALLEL = 4
"""Boards at once, unless ``--parallel`` says otherwise."""


def run(
    pattern: str,
    *,
    inventory: str = "",
    options: Options,
    accept_new: bool = False,
    ask_sudo_password: bool = False,
    ask_password: bool = False,
    verify: bool = True,
    junit: str = "",
    parallel: int = PARALLEL,
    converge: Callable[..., Converge] | None = None,
) -> int:
    """Provision the hosts and verify them; returns the exit status.

    ``converge`` makes the run of a host, where its plan does not come from the roles: then nothing but SSH
    is needed, and no lab registry is. Raises :class:`DriftFound` when ``--check`` found differences.
    """
    chosen = select(pattern, inventory)
    check_roles(options.roles)
    known = KnownHosts(accept_new=accept_new)
    password = asked_for(sudo=ask_sudo_password, login=ask_password)
    notes = RunJournal("check" if options.check else "provision", by(), hosts=[host.target.name for host in chosen], roles=options.roles, tags=options.tags, skip_tags=options.skip_tags)  # fmt: skip
    options = replace(options, prefixed=len(chosen) > 1, journal=notes)
    if converge is None:
        lab_for(chosen, yes=options.yes)
    results = _each(chosen, _converging(known, password, options, converge or Converge), parallel)
    if verify and not options.check:
        for host in chosen:
            result = results[host.target.name]
            if isinstance(result, Outcome):
                path = verification.junit_path(junit, host.target.name, several=len(chosen) > 1)
                problem = verification.after_converge(host, known, password, result, junit=path)
                if problem is not None:
                    results[host.target.name] = problem
    for name, result in results.items():
        notes.record("host", host=name, ended=_ended(result))
    status = exit_status(list(results.values()))
    drifted = [n for n, found in results.items() if isinstance(found, Outcome) and found.changed]
    if options.check and not status and drifted:
        notes.close(DriftFound.exit_code)
        raise DriftFound(f"{', '.join(drifted)}: differs from what the roles say", hint="./inv provision changes it")  # fmt: skip
    notes.close(status)
    return status


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
    results = _each(chosen, _converging(known, password, options), parallel, quiet=True)
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


def _converging(
    known: KnownHosts,
    password: SudoPassword,
    options: Options,
    make: Callable[..., Converge] = Converge,
) -> Callable[[Selected], Outcome]:
    def converge(host: Selected) -> Outcome:
        return make(host.target, host.settings, known, password, options).run()

    return converge


def _each(
    chosen: list[Selected],
    converge: Callable[[Selected], Outcome],
    parallel: int,
    *,
    quiet: bool = False,
) -> dict[str, Outcome | PinnaceError]:
    def attempt(host: Selected) -> tuple[str, Outcome | PinnaceError]:
        started, name = time.monotonic(), host.target.name
        try:
            result: Outcome | PinnaceError = converge(host)
        except PinnaceError as problem:
            console.error(problem)
            result = problem
        if not quiet:
            _recap(name, result, time.monotonic() - started)
        return name, result

    if len(chosen) == 1:
        return dict([attempt(chosen[0])])
    with ThreadPoolExecutor(max_workers=max(1, parallel)) as pool:
        return dict(pool.map(attempt, chosen))


def _recap(name: str, result: Outcome | PinnaceError, seconds: float) -> None:
    if isinstance(result, Outcome):
        counts = dict(result.counts)
    elif isinstance(result, HostUnreachable):
        counts = {"unreachable": 1}
    else:
        counts = {"failed": 1}
    console.recap(name, counts, seconds)


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
