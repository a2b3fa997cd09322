"""From a host in the inventory to one that can be connected to: emulated boards are started first."""

from __future__ import annotations

import dataclasses
import threading
from contextlib import nullcontext

from toolkit import boards
from toolkit.connection.hostkeys import KnownHosts
from toolkit.connection.ssh import Connection
from toolkit.connection.sudo import SudoPassword
from toolkit.errors import UsageError
from toolkit.inventory.settings import Target

# One machine's mounts, emulators and links: boards are made one after the other.
_starting = threading.Lock()
_answered: set[str] = set()
"""Boards that took a login from this process: a connection finds out soon enough when one no longer does."""


def check(target: Target) -> None:
    """Raise :class:`UsageError` when ``board=`` names no emulated board."""
    if target.board:
        try:
            boards.get(target.board)
        except UsageError as problem:
            raise UsageError(f"{target.name}: board={target.board}: {problem.message}", hint=problem.hint) from None  # fmt: skip


def prepare(target: Target, known: KnownHosts, *, yes: bool) -> Target:
    """The target with address, user and keys; an emulated board is created and started."""
    if not target.board:
        return target
    board = boards.get(target.board)
    if not (board.is_running and board.name in _answered):
        # One that runs is only looked at; when it does not answer, that is no reason for others to wait.
        with nullcontext() if board.is_running else _starting:
            board.ensure_started(yes=yes)
        _answered.add(board.name)
    port = board.ssh_port
    # A port other than SSH's own is part of the name that a key is known by (sshd(8)).
    name = board.address if port == 22 else f"[{board.address}]:{port}"
    known.give(f"{name} {board.host_key}")
    return dataclasses.replace(
        target,
        address=target.address or board.address,
        port=target.port or (0 if port == 22 else port),
        user=target.user or "pi",
        key_file=target.key_file or str(board.ssh_key),
    )


def connect(target: Target, known: KnownHosts, password: SudoPassword) -> Connection:
    """An open connection; raises :class:`HostUnreachable`."""
    connection = Connection(target, known, password)
    connection.open()
    return connection
