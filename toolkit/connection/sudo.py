"""Passwords, for sudo and for logging in: asked for once in a run, never shown, never in an argument or a log."""

from __future__ import annotations

import getpass
import os
import sys
import threading

from toolkit import console
from toolkit.errors import HostFailed


class SudoPassword:
    """Gives the password to every connection of a run.

    ``ask`` reads it from standard input where there is no terminal (``--ask-sudo-password``). ``login`` is
    the one for boards that take no key.
    """

    question = "sudo password for the boards: "
    refusal = "sudo asks for a password, and there is nobody to ask for it"
    remedy = "use --ask-sudo-password, or allow passwordless sudo on the board"

    def __init__(
        self,
        *,
        ask: bool = False,
        known: str | None = None,
        login: LoginPassword | None = None,
    ) -> None:
        self.login = login
        self._ask = ask
        self._value = known
        self._lock = threading.Lock()

    @property
    def available(self) -> bool:
        """Whether it is known, or somebody can be asked."""
        return self._ask or self._value is not None or sys.stdin.isatty()

    def get(self, host: str) -> str:
        """The password; raises :class:`HostFailed` when nobody can be asked."""
        with self._lock:
            if self._value is None:
                if not self.available:
                    raise HostFailed(f"{host}: {self.refusal}", hint=self.remedy)
                self._value = self._read()
            return self._value

    def _read(self) -> str:
        if sys.stdin.isatty():
            with console.asking():
                console.err.show_cursor()
                return getpass.getpass(self.question)
        # Piped in, for automation: one line, read without buffering what follows it.
        line = b""
        while not line.endswith(b"\n") and (byte := os.read(sys.stdin.fileno(), 1)):
            line += byte
        return line.rstrip(b"\r\n").decode()


class LoginPassword(SudoPassword):
    """The password to log in with, where a board accepts passwords and none of the keys."""

    question = "SSH password for the boards: "
    refusal = "it accepts no key of yours, and there is nobody to ask for a password"
    remedy = "check ansible_user and ansible_ssh_private_key_file, or use --ask-password"


def asked_for(*, sudo: bool, login: bool) -> SudoPassword:
    """The passwords of a run; the flags read them from standard input, the login's first."""
    return SudoPassword(ask=sudo, login=LoginPassword(ask=login))
