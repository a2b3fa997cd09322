"""The sudo password: asked for once in a run, never shown, never in an argument or a log."""

from __future__ import annotations

import getpass
import os
import sys
import threading

from toolkit import console
from toolkit.errors import HostFailed


class SudoPassword:
    """Gives the password to every connection of a run.

    ``ask`` asks right away where there is no terminal prompt otherwise (``--ask-sudo-password``).
    """

    def __init__(self, *, ask: bool = False, known: str | None = None) -> None:
        self._ask = ask
        self._value = known
        self._lock = threading.Lock()

    def get(self, host: str) -> str:
        """The password; raises :class:`HostFailed` when nobody can be asked."""
        with self._lock:
            if self._value is None:
                if not (self._ask or sys.stdin.isatty()):
                    raise HostFailed(
                        f"{host}: sudo asks for a password, and there is nobody to ask for it",
                        hint="use --ask-sudo-password, or allow passwordless sudo on the board",
                    )
                self._value = self._read()
            return self._value

    @staticmethod
    def _read() -> str:
        if sys.stdin.isatty():
            console.err.show_cursor()
            return getpass.getpass("sudo password for the boards: ")
        # Piped in, for automation: one line, read without buffering what follows it.
        line = b""
        while not line.endswith(b"\n") and (byte := os.read(sys.stdin.fileno(), 1)):
            line += byte
        return line.rstrip(b"\r\n").decode()
