"""A board of a test's own, which is new whatever an earlier run left behind."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from toolkit.boards.board import Board


@contextlib.contextmanager
def fresh(*boards: Board) -> Iterator[None]:
    """The ``boards``, started, and destroyed afterwards.

    A run that was killed could not destroy its own: what is on those is another test's.
    """
    for board in boards:
        board.destroy()
    try:
        for board in boards:
            board.ensure_started(yes=True)
        yield
    finally:
        for board in boards:
            board.destroy()
