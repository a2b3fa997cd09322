"""The hosts of an inventory as a fleet: probed, converged and put back over SSH."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from toolkit import console
from toolkit.connection.hostkeys import KnownHosts
from toolkit.connection.ssh import Connection, wait_until_reachable
from toolkit.connection.sudo import SudoPassword
from toolkit.provision import hosts
from toolkit.provision.bootstrap import agent
from toolkit.provision.confirm import new_run
from toolkit.provision.converge import Converge, Options
from toolkit.provision.health import Health, look
from toolkit.provision.selection import Selected
from toolkit.report.events import Say
from toolkit.rollout.model import Applied


class Hosts:
    """A :class:`toolkit.rollout.model.Fleet` of hosts that ``--limit`` chose."""

    def __init__(
        self,
        chosen: Iterable[Selected],
        known: KnownHosts,
        password: SudoPassword,
        options: Options,
        runs: Mapping[str, str] | None = None,
    ) -> None:
        """``runs``: ids of the runs that hosts had in an earlier part of the rollout."""
        self._chosen = {host.target.name: host for host in chosen}
        self._known = known
        self._password = password
        self._options = options
        self._runs = dict(runs or {})
        self._working: dict[str, Converge] = {}

    def probe(self, host: str) -> Health:
        """What works there."""
        with self._connection(host) as connection:
            return look(connection)

    def apply(self, host: str, say: Say) -> Applied:
        """Converge the host; risky changes are confirmed."""
        chosen = self._chosen[host]
        work = Converge(
            chosen.target,
            chosen.settings,
            self._known,
            self._password,
            self._options,
            relative=True,
        )
        self._working[host], self._runs[host] = work, work.run_id
        with console.told_to(say):
            outcome = work.run()
        return Applied(outcome.counts, outcome.run, outcome.before)

    def revert(self, host: str, say: Say) -> None:
        """Put back this rollout's run. A board whose watcher did so already has nothing to do."""
        run = self._runs.get(host)
        if not run:
            return
        say("put back")

        def connect() -> Connection:
            return self._connection(host)

        # One that cut itself off comes back when its watcher has put it back.
        limit = 2 * self._options.confirm + 10
        with (
            wait_until_reachable(connect, seconds=limit) as connection,
            agent(connection, install=False) as (board, _),
        ):
            board.revert(new_run(), of=run)

    def take_back(self, host: str, say: Say) -> int:
        """Put back the host's latest run, whichever it was; how many things."""
        with self._connection(host) as connection, agent(connection, install=False) as (board, _):
            return board.revert(new_run())

    def abandon(self, host: str) -> None:
        """Close the connection that a hanging run waits on."""
        work = self._working.get(host)
        if work is not None:
            threading.Thread(target=work.abandon, daemon=True).start()

    def _connection(self, host: str) -> Connection:
        target = self._chosen[host].target
        if target.board:
            with console.told_to(lambda _: None):
                target = hosts.prepare(target, self._known, yes=self._options.yes)
        return Connection(target, self._known, self._password)
