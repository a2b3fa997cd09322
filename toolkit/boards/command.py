"""``./inv board``: one function per action, over :class:`~toolkit.boards.board.Board`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from toolkit import boards, console
from toolkit.boards import machine
from toolkit.boards.board import Board
from toolkit.boards.emulated import created_names
from toolkit.errors import UsageError
from toolkit.paths import state_dir


def run(action: str, name: str, *, words: list[str], yes: bool) -> int:
    """Carry out ``action`` on the board ``name``; returns the exit status."""
    actions: dict[str, Callable[[Board], int]] = {
        "create": lambda board: _done(board.create(yes=yes)),
        "start": lambda board: _start(board, yes),
        "stop": lambda board: _done(board.stop()),
        "destroy": lambda board: _done(board.destroy()),
        "ssh": lambda board: _ssh(board, words),
    }
    if action == "list":
        _list()
        return 0
    if action not in actions:
        raise UsageError(
            f"no such action: {action}", hint=f"one of: {', '.join([*actions, 'list'])}"
        )
    if not name:
        raise UsageError(f"which board to {action}?", hint=f"one of: {', '.join(boards.names())}")
    return actions[action](boards.get(name))


def _done(_: None) -> int:
    return 0


def _start(board: Board, yes: bool) -> int:
    if not board.is_created:
        board.create(yes=yes)
    board.start(yes=yes)
    return 0


def _ssh(board: Board, words: list[str]) -> int:
    if not board.is_running:
        raise UsageError(f"{board.name} does not run", hint=f"./inv board start {board.name}")
    return subprocess.run(
        board.ssh_command(words, terminal=sys.stdin.isatty()), check=False
    ).returncode


def _list() -> None:
    """Every board that exists or could, and the boards of others that run on this machine."""
    mine = list(dict.fromkeys([*boards.names(), *created_names()]))
    own = str(state_dir("boards"))
    rows = []
    for name in mine:
        board = boards.get(name)
        state = "running" if board.is_running else "stopped" if board.is_created else "-"
        address = board.address if board.is_running else ""
        rows.append((name, state, address, f"Debian {board.release} {board.arch.facts.debian}", ""))
    for record in machine.records():
        if record.alive and record.state != own:
            rows.append((record.name, "running", record.address, "", f"of {record.state}"))
    console.table(["board", "state", "address", "system", ""], rows)
