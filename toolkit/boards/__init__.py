"""Emulated boards: hosts that this machine makes, for trying roles and the runtime on every processor.

``get("emu-armv6l").ensure_started()`` gives a running board; :mod:`toolkit.boards.board` says what it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.boards import catalogue

if TYPE_CHECKING:
    from toolkit.boards.board import Board


def names() -> list[str]:
    """The boards that exist by themselves; further ones have a word behind (``emu-amd64-2``)."""
    return catalogue.names()


def get(name: str) -> Board:
    """The board called ``name``, whether it is created or not; raises ``UsageError`` for no board."""
    # Late, because a board's supervisor imports this package and lives as long as the board.
    model = catalogue.find_model(name)
    if model is not None:
        from toolkit.boards.system.board import SystemBoard

        return SystemBoard(name, model)
    spec = catalogue.find(name)
    from toolkit.boards.emulated import EmulatedBoard

    return EmulatedBoard(spec)
