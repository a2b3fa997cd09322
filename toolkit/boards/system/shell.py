"""Commands over a board's serial console, where its user ``pi`` is logged in: for a board without a network."""

from __future__ import annotations

import re
import secrets
import time
from pathlib import Path

from toolkit.boards.system.qmp import connected
from toolkit.errors import PinnaceError

_PROMPT = re.compile(rb"pi@[\w.-]+:[^\r\n]*\$ ")

_CONNECT_SECONDS = 30.0

# What the first login after a restore will read is read now, by an unfinished one.
_WARM = """sudo python3 -c 'import socket; socket.create_connection(("127.0.0.1", 22)).recv(99)'"""


class Shell:
    """The console at a socket of QEMU's; a context manager. Nobody else may be connected to it.

    Raises :class:`PinnaceError` when the board does not answer in time, or ends.
    """

    def __init__(self, path: Path) -> None:
        self._seen = b""
        self._socket = connected(path, "console", _CONNECT_SECONDS)

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def wait_for_prompt(self, seconds: float) -> None:
        """Return when a command can be typed."""
        self._read_until(_PROMPT, seconds)

    def run(self, command: str, seconds: float) -> str:
        """What the one-line ``command`` prints."""
        # In two parts, so that the echo of what is typed is not taken for the answer.
        mark = secrets.token_hex(8)
        line = f"a={mark[:8]}; echo ${{a}}{mark[8:]}; {command}; echo ${{a}}{mark[8:]}\n"
        self._socket.sendall(line.encode())
        between = re.compile(b"%b\r?\n(.*?)%b" % (mark.encode(), mark.encode()), re.DOTALL)
        found = self._read_until(between, seconds)
        return found[1].decode(errors="replace").replace("\r\n", "\n").strip()

    def _read_until(self, wanted: re.Pattern[bytes], seconds: float) -> re.Match[bytes]:
        deadline = time.monotonic() + seconds
        while not (found := wanted.search(self._seen)):
            left = deadline - time.monotonic()
            if left <= 0:
                raise PinnaceError(f"the board's console did not answer within {seconds:.0f} s")
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                continue
            except OSError as problem:
                raise PinnaceError(f"the board's console is gone: {problem}") from None
            if not data:
                raise PinnaceError("the board ended")
            self._seen += data
        self._seen = self._seen[found.end() :]
        return found


def settle(path: Path, seconds: float) -> None:
    """Wait until a board without a network has started, so that a snapshot has nothing of its start."""
    with Shell(path) as shell:
        shell.wait_for_prompt(seconds)
        state = shell.run("systemctl is-system-running --wait", seconds)
        # The kernel may say something on the console at the same time.
        if "running" not in state.split():
            failed = shell.run("systemctl --failed --plain --no-legend | cat", 60)
            raise PinnaceError(f"the board is {state or 'silent'} after its start: {failed}")
        shell.run(f"{_WARM}; sync", 120)
