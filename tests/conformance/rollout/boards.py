"""Native boards with systemd and sshd for tests of changes, and plans of a few resources for them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.fresh import fresh
from toolkit import boards
from toolkit.boards.board import Board
from toolkit.connection.hostkeys import KnownHosts
from toolkit.connection.ssh import Connection, wait_until_reachable
from toolkit.connection.sudo import SudoPassword
from toolkit.inventory.settings import Settings, Target
from toolkit.plan.model import Plan, Planned, make
from toolkit.provision import hosts
from toolkit.provision.bootstrap import agent
from toolkit.provision.confirm import new_run
from toolkit.provision.converge import Converge, Options, Outcome
from toolkit.resources import Resource


class Machine:
    """A board that runs, and the laptop's way to it."""

    def __init__(self, board: Board, known: Path) -> None:
        self.board = board
        self.known = KnownHosts(path=known)
        self.password = SudoPassword()
        self.target = hosts.prepare(Target(board.name, board=board.name), self.known, yes=True)

    def converge(self, *resources: Resource, confirm: float = 4.0) -> Outcome:
        """Make the board so, and confirm it within ``confirm`` seconds."""
        return _Plain(self, list(resources), Options(yes=True, confirm=confirm)).run()

    def converge_and_leave(self, *resources: Resource, confirm: float) -> None:
        """Make the board so from a laptop that is closed before it confirms it."""
        _Leaving(self, list(resources), Options(yes=True, confirm=confirm)).run()

    def revert(self, of: str) -> int:
        """Put back the run ``of``; how many things."""
        with self.reachable() as connection, agent(connection, install=False) as (board, _):
            return board.revert(new_run(), of=of)

    def reachable(self, seconds: float = 30) -> Connection:
        """A connection, as soon as there can be one."""
        return wait_until_reachable(
            lambda: Connection(self.target, self.known, self.password, timeout=5), seconds=seconds
        )

    def shell(self, command: str, seconds: float = 30) -> str:
        """What a command as root prints."""
        with self.reachable(seconds) as connection:
            found = connection.shell(command, sudo=True)
        assert found.status == 0, found
        return found.stdout.decode()


class _Plain(Converge):
    """A run over resources instead of roles."""

    def __init__(self, machine: Machine, resources: list[Resource], options: Options) -> None:
        super().__init__(machine.target, Settings(), machine.known, machine.password, options)
        self._resources = resources

    def _plan(self, facts: Mapping[str, Any]) -> Plan:
        return make(Planned("test", resource) for resource in self._resources)


class _Leaving(_Plain):
    def _confirm(self, target: Target) -> None:
        pass


@contextlib.contextmanager
def started(name: str, directory: Path) -> Iterator[Machine]:
    """A new board ``emu-<machine>-<name>``, destroyed afterwards."""
    board = boards.get(name)
    with fresh(board):
        yield Machine(board, directory / "known_hosts")
