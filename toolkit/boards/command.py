"""``./inv board``: one function per action, over :class:`~toolkit.boards.board.Board`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from toolkit import boards, console
from toolkit.boards import capability, machine
from toolkit.boards.board import Board
from toolkit.boards.emulated import created_names
from toolkit.errors import UsageError
from toolkit.paths import state_dir


@dataclass(frozen=True, slots=True)
class Options:
    """What the flags say: a snapshot's name, whether to boot, how much a power cut spares, what it is like.

    ``image`` is the directory of an exported board: to create from, or to write.
    """

    tag: str = ""
    cold: bool = False
    kept: float = 0.0
    seed: int = 0
    system: str = ""
    image: Path | None = None


def run(action: str, name: str, *, words: list[str], yes: bool, options: Options | None = None) -> int:  # fmt: skip
    """Carry out ``action`` on the board ``name``; returns the exit status."""
    said = options or Options()
    actions: dict[str, Callable[[Board], int]] = {
        "create": lambda board: _did(
            partial(board.create, yes=yes, system=said.system, image=said.image)
        ),
        "start": lambda board: _start(board, yes, said),
        "stop": lambda board: _did(board.stop),
        "destroy": lambda board: _did(board.destroy),
        "ssh": lambda board: _ssh(board, words),
        "snapshot": lambda board: _did(partial(board.snapshot, said.tag or "kept")),
        "export": lambda board: _export(board, said.image),
        "restore": lambda board: _did(partial(board.restore, said.tag)),
        "reset": lambda board: _did(board.reset),
        "console": _console,
        "power-cut": lambda board: _did(partial(board.power_cut, kept=said.kept, seed=said.seed)),
    }
    if action == "list":
        _list()
        return 0
    if action not in actions:
        raise UsageError(
            f"no such action: {action}" if action else "what about boards?",
            hint=f"one of: {', '.join([*actions, 'list'])}",
        )
    if not name:
        raise UsageError(f"which board to {action}?", hint=f"one of: {', '.join(boards.names())}")
    return actions[action](boards.get(name))


def _did(act: Callable[[], None]) -> int:
    act()
    return 0


def _start(board: Board, yes: bool, said: Options) -> int:
    if said.system or not board.is_created:
        board.create(yes=yes, system=said.system, image=said.image)
    board.start(yes=yes, cold=said.cold)
    return 0


def _export(board: Board, target: Path | None) -> int:
    if target is None:
        raise UsageError(f"where to export {board.name}?", hint="--to DIRECTORY")
    board.export(target)
    return 0


def _ssh(board: Board, words: list[str]) -> int:
    if not board.is_running:
        raise UsageError(f"{board.name} does not run", hint=f"./inv board start {board.name}")
    return subprocess.run(
        board.ssh_command(words, terminal=sys.stdin.isatty()), check=False
    ).returncode


def _console(board: Board) -> int:
    from toolkit.boards.system import terminal

    return terminal.attach(board)


def _list() -> None:
    """Every board that exists or could, and the boards of others that run on this machine; then what each tier shows."""
    own = str(state_dir("boards"))
    mine = [boards.get(name) for name in dict.fromkeys([*boards.names(), *created_names()])]
    rows = [_row(board) for board in mine]
    for record in machine.records():
        if record.alive and record.state != own:
            rows.append((record.name, "running", record.address, "", "", "", "", f"of {record.state}"))  # fmt: skip
    titles = ["board", "state", "address", "tier", "arch", "Debian", "cpu", "kernel"]
    console.table(titles, rows)
    console.out.print()
    tiers = {board.tier: board.shows for board in mine}
    console.table(["can show", *tiers, ""], _shown(tiers))


def _row(board: Board) -> tuple[str, ...]:
    state = "running" if board.is_running else "stopped" if board.is_created else "-"
    where = board.address if board.is_running else ""
    if where and board.ssh_port != 22:
        where = f"{where}:{board.ssh_port}"
    debian = f"{board.release} {board.arch.facts.debian}"
    return (board.name, state, where, board.tier, board.arch.label, debian, board.cpu, board.kernel)


def _shown(tiers: Mapping[str, frozenset[str]]) -> Iterator[tuple[str, ...]]:
    """For each word that a test can require: which tiers show it, and what it means."""
    for word, meaning in sorted(capability.MEANING.items()):
        yield (word, *("yes" if word in shown else "-" for shown in tiers.values()), meaning)
