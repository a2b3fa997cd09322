"""`./inv provision` of several boards on a real terminal: a table while it works, lines afterwards, a whole terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import socket
import struct
import sys
import termios
import threading
from collections.abc import Iterator
from fcntl import ioctl
from pathlib import Path

import pytest

from toolkit.paths import PROJECT

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that accepts and says nothing for a while, as a board that hangs, and then is gone."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(3)

    def hang() -> None:
        accepted = []
        with server, contextlib.suppress(TimeoutError):
            while True:
                accepted.append(server.accept()[0])
        for one in accepted:
            one.close()

    thread = threading.Thread(target=hang)
    thread.start()
    yield server.getsockname()[1]
    thread.join()


def typed(command: list[str], columns: int) -> tuple[int, str]:
    """Run a command on a terminal; its exit status and all that it wrote."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(PROJECT)
        os.environ["TERM"] = "xterm"
        os.execv(command[0], command)
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    said = b""
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:
            break  # the other end is closed
        if not chunk:
            break
        said += chunk
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode()


def test_a_table_and_a_recap(silent: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    inventory = tmp_path / "inventory.ini"
    inventory.write_text(f"hangs ansible_host=127.0.0.1 ansible_port={silent}\ndead ansible_host=127.0.0.1 ansible_port=1\n")  # fmt: skip
    status, said = typed([sys.executable, "-m", "invoke", "provision", "--host", "all", "--inventory", str(inventory)], 100)  # fmt: skip
    assert status == 4
    assert "━━━━" in said
    assert "1 of 2 hosts" in said
    assert "hangs" in said.split("1 of 2 hosts")[0]
    assert "dead (127.0.0.1): Connection refused" in said
    assert said.rindex("\x1b[?25h") > said.rindex("\x1b[?25l"), "the cursor is shown again"
    last = said.rstrip().splitlines()[-1]
    for word in ("2 hosts", "ok=0", "changed=0", "failed=0", "unreachable=2"):
        assert word in last
    assert "Traceback" not in said
