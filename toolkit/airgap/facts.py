"""What boards said of themselves: asked for now, or remembered for when they are out of reach."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from toolkit import console
from toolkit.connection.hostkeys import KnownHosts
from toolkit.connection.ssh import Connection
from toolkit.connection.sudo import SudoPassword
from toolkit.errors import HostUnreachable
from toolkit.provision import bootstrap, hosts
from toolkit.provision.known import path_of, remember, remembered
from toolkit.provision.selection import Selected


def of(host: Selected, known: KnownHosts, password: SudoPassword) -> Mapping[str, Any]:
    """The facts of a board; raises :class:`HostUnreachable` when nobody ever heard of it."""
    name = host.target.name
    try:
        target = hosts.prepare(host.target, known, yes=False)
        with (
            Connection(target, known, password) as connection,
            bootstrap.agent(connection, install=False) as (agent, facts),
        ):
            agent.leave()
    except HostUnreachable as problem:
        found, at = remembered(name)
        if found is None:
            raise HostUnreachable(f"{problem.message}, and what it is like is not known here", hint=f"reach it once (./inv status --host {name}), or bring {path_of(name)} from where that was done") from problem  # fmt: skip
        day = time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
        console.line("skipped", f"{name} is not reachable", f"as it was on {day}")
        return found
    remember(name, facts)
    return facts
