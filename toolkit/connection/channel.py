"""A running command on a board: its streams, its end, and sudo's question in between."""

from __future__ import annotations

import contextlib
import shlex
import threading
import uuid
from typing import Any

import paramiko

from toolkit.connection.sudo import SudoPassword
from toolkit.errors import HostFailed, HostUnreachable

_READY = b"pinnace-ready\n"
_KEPT = 65536
"""Bytes of standard error that are kept."""


class Process:
    """A command started on a channel; a context manager closes it.

    With a ``password`` the command runs through sudo. sudo's question is recognised by a prompt of our
    own making on standard error; the password is sent only then. The command prints a line before
    anything else, so that nothing meant for it is read by sudo.
    """

    def __init__(
        self,
        channel: Any,
        host: str,
        command: str,
        password: SudoPassword | None,
        timeout: float,
    ) -> None:
        self._channel: paramiko.Channel = channel
        self._host = host
        self._password = password
        self._prompt = f"[pinnace {uuid.uuid4().hex}]".encode()
        self._errors = bytearray()
        self._asked = 0
        self._refused: HostFailed | None = None
        self._input = b""
        channel.settimeout(timeout)
        ready = f"printf {shlex.quote(_READY.decode())}; {command}" if password else command
        if password:
            # -k would forget other sessions; -S reads the password from standard input.
            command = f"sudo -S -p {shlex.quote(self._prompt.decode())} sh -c {shlex.quote(ready)}"
        channel.exec_command(command)
        self._collector = threading.Thread(target=self._collect, daemon=True)
        self._collector.start()
        if password:
            self._become_ready()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def send(self, data: bytes) -> None:
        """Write to its standard input; raises :class:`HostUnreachable` when it is gone."""
        try:
            self._channel.sendall(data)
        except (OSError, paramiko.SSHException) as problem:
            if not self._channel.exit_status_ready():
                raise self._lost(problem) from problem

    def end_input(self) -> None:
        self._channel.shutdown_write()

    def read_line(self) -> bytes:
        """A line of its output with the newline, what is left at the end, then nothing."""
        while b"\n" not in self._input:
            chunk = self._receive()
            if not chunk:
                line, self._input = self._input, b""
                return line
            self._input += chunk
        line, _, self._input = self._input.partition(b"\n")
        return line + b"\n"

    def read_all(self) -> bytes:
        chunks = [self._input]
        self._input = b""
        while chunk := self._receive():
            chunks.append(chunk)
        return b"".join(chunks)

    def wait(self) -> int:
        """Its exit status; -1 when a signal ended it."""
        if not self._channel.status_event.wait(self._channel.gettimeout()):
            raise HostUnreachable(f"{self._host}: a command does not end")
        return self._channel.recv_exit_status()

    def stderr(self) -> bytes:
        self._collector.join(5)
        return bytes(self._errors).replace(self._prompt, b"")

    def _receive(self) -> bytes:
        try:
            return self._channel.recv(65536)
        except (OSError, paramiko.SSHException) as problem:
            raise self._lost(problem) from problem

    def _lost(self, problem: BaseException) -> HostUnreachable:
        if isinstance(problem, TimeoutError):
            seconds = self._channel.gettimeout() or 0
            return HostUnreachable(f"{self._host}: silent for {seconds:.0f} s; the connection was given up")  # fmt: skip
        return HostUnreachable(f"{self._host}: the connection was lost")

    def _become_ready(self) -> None:
        line = self.read_line()
        while line and line != _READY:
            line = self.read_line()
        if line:
            return
        if self._refused is not None:
            raise self._refused
        said = self.stderr().decode("utf-8", "replace").strip().splitlines()
        reason = said[-1].strip() if said else "no reason given"
        self._channel.close()
        raise HostFailed(f"{self._host}: sudo refused: {reason}")

    def _collect(self) -> None:
        """Read standard error to its end, answering sudo on the way."""
        while True:
            try:
                chunk = self._channel.recv_stderr(65536)
            except TimeoutError:
                continue
            except (OSError, paramiko.SSHException):
                return
            if not chunk:
                return
            self._errors += chunk
            if len(self._errors) > _KEPT:
                del self._errors[:-_KEPT]
            if self._password is not None and self._errors.count(self._prompt) > self._asked:
                self._asked += 1
                self._answer(self._password)

    def _answer(self, password: SudoPassword) -> None:
        try:
            if self._asked > 1:
                raise HostFailed(f"{self._host}: sudo does not accept the password", hint="check the password, and that the user may use sudo")  # fmt: skip
            self._channel.sendall(password.get(self._host).encode() + b"\n")
        except HostFailed as problem:
            self._refused = problem
            # The reader wakes up as this begins and may end the connection before it is sent.
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                self._channel.close()
        except (OSError, EOFError, paramiko.SSHException):
            return
