"""The boards of one pytest process: made for a test module, thrown away behind it, never left behind.

A board has the process's own word in its name (``emu-armv6l-gw012fa``), so that the workers of pytest-xdist and
other runs on this machine have their own. A note says which process it belongs to: what a killed run
left is found by the next one.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from toolkit import boards
from toolkit.errors import PinnaceError
from toolkit.paths import state_dir
from toolkit.process import start_time
from toolkit.pytest_boards.running import RunningBoard


class Pool:
    """Makes boards and keeps the notes about them."""

    def __init__(self, worker: str = "") -> None:
        self._word = f"{worker}p{os.getpid():x}"
        self._notes = state_dir("pytest-boards")

    def fresh(self, kind: str, image: Path | None = None, *, yes: bool = False) -> RunningBoard:
        """A running board of this kind, or made from an exported ``image``, on which nobody has done anything yet.

        Raises :class:`PinnaceError` when it cannot be made or does not start; then nothing is left.
        """
        board = boards.get(f"{kind}-{self._word}")
        note = self._notes / board.name
        pid = os.getpid()
        note.write_text(json.dumps({"pid": pid, "started": start_time(pid)}))
        try:
            if image:
                board.create(yes=yes, image=image)
            board.ensure_started(yes=yes)
        except BaseException:
            _forget(note)
            raise
        return RunningBoard(board, kind)

    def discard(self, board: RunningBoard) -> None:
        """Throw a board away."""
        board.discard()
        (self._notes / board.name).unlink(missing_ok=True)

    def sweep(self) -> list[str]:
        """Destroy the boards of runs that are no more; their names."""
        swept = []
        for note in self._notes.iterdir():
            if not _lives(note):
                _forget(note)
                swept.append(note.name)
        return swept


def _lives(note: Path) -> bool:
    try:
        owner = json.loads(note.read_text())
        return bool(start_time(owner["pid"]) == owner["started"])
    except FileNotFoundError:
        return True  # another process was quicker
    except (ValueError, KeyError):
        return False


def _forget(note: Path) -> None:
    # A board that cannot be taken away now stays noted for the next run.
    with suppress(PinnaceError):
        boards.get(note.name).destroy()
        note.unlink(missing_ok=True)
