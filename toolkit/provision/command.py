"""``./inv provision``: everything that can be wrong on this machine is said before a board is touched."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from toolkit import console
from toolkit.connection.hostkeys import KnownHosts
from toolkit.connection.sudo import SudoPassword
from toolkit.errors import DriftFound, HostUnreachable, PinnaceError
from toolkit.plan.compile import check_roles
from toolkit.provision.converge import Converge, Options, Outcome
from toolkit.provision.selection import Selected, exit_status, select
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
    verify: bool = True,
    junit: str = "",
    parallel: int = PARALLEL,
) -> int:
    """Provision the hosts and verify them; returns the exit status.

    Raises :class:`DriftFound` when ``--check`` found differences.
    """
    chosen = select(pattern, inventory)
    check_roles(options.roles)
    known = KnownHosts(accept_new=accept_new)
    password = SudoPassword(ask=ask_sudo_password)
    options = replace(options, prefixed=len(chosen) > 1)
    if any(host.target.board for host in chosen):
        _lab(chosen, yes=options.yes)

    def converge(host: Selected) -> Outcome:
        return Converge(host.target, host.settings, known, password, options).run()

    results = _each(chosen, converge, parallel)
    if verify and not options.check:
        for host in chosen:
            result = results[host.target.name]
            if isinstance(result, Outcome):
                path = verification.junit_path(junit, host.target.name, several=len(chosen) > 1)
                problem = verification.after_converge(host, known, password, result, junit=path)
                if problem is not None:
                    results[host.target.name] = problem
    if options.check and all(isinstance(result, Outcome) for result in results.values()):
        drifted = [
            n for n, result in results.items() if isinstance(result, Outcome) and result.changed
        ]
        if drifted:
            raise DriftFound(f"{', '.join(drifted)}: differs from what the roles say", hint="run without --check to change it")  # fmt: skip
    return exit_status(list(results.values()))


def _each(
    chosen: list[Selected], converge: Callable[[Selected], Outcome], parallel: int
) -> dict[str, Outcome | PinnaceError]:
    def attempt(host: Selected) -> tuple[str, Outcome | PinnaceError]:
        started, name = time.monotonic(), host.target.name
        try:
            result: Outcome | PinnaceError = converge(host)
        except PinnaceError as problem:
            console.error(problem)
            result = problem
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


def _lab(chosen: list[Selected], *, yes: bool) -> None:
    """Emulated boards pull from the lab registry: it runs and has their images.

    What this machine needs for both is asked for here, once. Without root, boards under user
    emulation that run are provisioned as they are, against the registry that was started with them.
    """
    from toolkit import boards
    from toolkit.boards.emulated import need_machine
    from toolkit.lab import registry

    emulated = [boards.get(host.target.board) for host in chosen if host.target.board]
    on_our_kernel = [board for board in emulated if board.tier != "system"]
    if on_our_kernel:
        if os.geteuid() != 0 and all(board.is_running for board in emulated):
            return
        need_machine(f"starting {' '.join(board.name for board in on_our_kernel)}", yes=yes)
    registry.start(yes=yes)
    registry.fill({board.arch for board in emulated})
