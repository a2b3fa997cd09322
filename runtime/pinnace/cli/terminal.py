"""The user's terminal: raw while a container's process owns it, put back whatever happens."""

from __future__ import annotations

import os
import termios
import tty
from types import TracebackType

from pinnace.errors import InvalidArgument


class RawTerminal:
    """A context in which ``fd``'s terminal passes every key on and prints what comes.

    Raises:
        InvalidArgument: ``fd`` is not a terminal.
    """

    def __init__(self, fd: int) -> None:
        if not os.isatty(fd):
            raise InvalidArgument(
                "a terminal was asked for but standard input is not one",
                hint="leave out -t, or run it from a terminal",
            )
        self._fd = fd
        self._before = termios.tcgetattr(fd)

    def __enter__(self) -> RawTerminal:
        tty.setraw(self._fd, termios.TCSANOW)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        columns, rows = os.get_terminal_size(self._fd)
        return columns, rows
