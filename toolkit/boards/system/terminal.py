"""``./inv board console``: the serial console of a board on this terminal, or its log where there is none."""

from __future__ import annotations

import os
import select
import socket
import sys
import termios
import tty

from toolkit import console
from toolkit.boards.board import Board
from toolkit.boards.system.board import SystemBoard

_LEAVE = b"\x1d"  # Ctrl-], as telnet has it
_SHOWN = 2000


def attach(board: Board) -> int:
    """Connect this terminal with the console until Ctrl-] or the board's end; returns 0.

    Without a terminal, or when the board does not run, what it has written so far is printed.
    """
    log = board.console
    text = log.read_text(errors="replace") if log.exists() else ""
    if not (sys.stdin.isatty() and board.is_running and isinstance(board, SystemBoard)):
        sys.stdout.write(text)
        return 0
    console.note(f"the console of {board.name}; leave with Ctrl-]")
    sys.stdout.write(text[-_SHOWN:])
    sys.stdout.flush()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(board.console_socket))
        before = termios.tcgetattr(sys.stdin)
        try:
            tty.setraw(sys.stdin)
            _relay(connection)
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
    return 0


def _relay(connection: socket.socket) -> None:
    keyboard, screen = sys.stdin.fileno(), sys.stdout.fileno()
    while True:
        readable, _, _ = select.select([keyboard, connection], [], [])
        if connection in readable:
            data = connection.recv(4096)
            if not data:
                return
            os.write(screen, data)
        if keyboard in readable:
            typed = os.read(keyboard, 1024)
            connection.sendall(typed.partition(_LEAVE)[0])
            if not typed or _LEAVE in typed:
                return
