"""Commands on a board over one shared SSH connection, by OpenSSH itself: no Python library is needed.

A connection costs an emulated board a second, a command over an open one a few hundredths.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from toolkit.boards.board import Board
from toolkit.errors import HostFailed, HostUnreachable
from toolkit.process import last_line

_OPEN_SECONDS = 60.0
"""What a loaded machine may need to log in on a slow board."""

_TRANSPORT_FAILED = 255
"""ssh(1): its own failure, in contrast to the command's status."""


@dataclass(frozen=True, slots=True)
class Completed:
    """What a command did: its exit status and what it wrote."""

    status: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output without the white space around it."""
        return self.stdout.decode(errors="replace").strip()


class Shell:
    """The connection to one running board; opened by the first command, closed by :meth:`close`."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._master: subprocess.Popen[bytes] | None = None
        # A socket's path has to be short: the usual temporary directory of a test may be too long.
        self._folder = tempfile.TemporaryDirectory(prefix="pnb-")
        self._socket = Path(self._folder.name, "s")

    def run(self, command: str, *, stdin: bytes = b"", timeout: float = 120) -> Completed:
        """Run a shell command; raises :class:`HostUnreachable`, or :class:`HostFailed` after ``timeout`` seconds."""
        self._open()
        words = self._words(self._board.ssh_command([command]))
        try:
            done = subprocess.run(
                words, input=stdin, capture_output=True, check=False, timeout=timeout
            )
        except subprocess.TimeoutExpired:
            raise HostFailed(
                f"{self._board.name}: no end after {timeout:.0f} s: {command}"
            ) from None
        if done.returncode == _TRANSPORT_FAILED and not self._alive():
            self.close()
            why = last_line(done.stderr.decode(errors="replace"))
            raise HostUnreachable(f"{self._board.name}: the connection ended: {why}")
        return Completed(done.returncode, done.stdout, done.stderr)

    def close(self) -> None:
        """End the connection; the next command opens a new one."""
        if self._master is not None:
            self._master.kill()
            self._master.wait()
            self._master = None
        self._socket.unlink(missing_ok=True)

    def discard(self) -> None:
        """Close it for good."""
        self.close()
        self._folder.cleanup()

    def _words(self, command: list[str], *options: str) -> list[str]:
        return [
            command[0], "-o", f"ControlPath={self._socket}", "-o", "BatchMode=yes", *options, *command[1:],
        ]  # fmt: skip

    def _alive(self) -> bool:
        return self._master is not None and self._master.poll() is None

    def _open(self) -> None:
        if self._alive():
            return
        self.close()
        options = ["-M", "-N", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=15"]
        with tempfile.TemporaryFile() as said:
            self._master = subprocess.Popen(
                self._words(self._board.ssh_command(), *options),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said,
            )  # fmt: skip
            deadline = time.monotonic() + _OPEN_SECONDS
            while not self._socket.exists():
                if not self._alive() or time.monotonic() > deadline:
                    self.close()
                    said.seek(0)
                    why = last_line(said.read().decode(errors="replace"))
                    raise HostUnreachable(f"{self._board.name}: no login: {why}")
                time.sleep(0.02)
