"""Getting into a board: waiting for its SSH server, setting what a restored machine has stale."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.boards.system.launch import Run
from toolkit.errors import PinnaceError
from toolkit.process import last_line

if TYPE_CHECKING:
    from toolkit.boards.system.board import SystemBoard

_LAST_LINES = 5

_COLOUR = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
"""A terminal's control sequence (ECMA-48, CSI): systemd says what it starts in colours."""

_STARTED = re.compile(rb"Started [^\n]*ssh\.service|login: ")

_PANIC = b"end Kernel panic"
"""The last line of a kernel that does not restart by itself."""

_COMMAND_SECONDS = 30.0
"""For the first command at first; where that was not enough it is twice as long the next time."""

_BLIND_SECONDS = 10.0
"""After this long a board is asked also when its console says nothing: its command line may be ``quiet``."""

# A restored board has the time and the name of when it was kept; sudo wants the name in /etc/hosts. In words of the
# shell itself: each program that is started for the first time costs a restored machine a tenth of a second.
_FRESHEN = """\
sudo sh -c '{clock}
read -r old </etc/hostname
if [ "$old" != {name} ]; then
    hosts=
    while IFS= read -r line; do
        case $line in 127.0.1.1*) line="127.0.1.1	{name}" ;; esac
        hosts="$hosts$line
"
    done </etc/hosts
    printf %s "$hosts" >/etc/hosts
    echo {name} >/etc/hostname
    echo {name} >/proc/sys/kernel/hostname
fi'
"""


_LOGIN_SECONDS = 60
"""A clock that is so much ahead of the time when the login began may well be right."""


def set_clock(now: int, *, restored: bool) -> str:
    """The words of a shell that set a board's clock to ``now``, in seconds since 1970.

    A restored machine is behind. One that booted has the right time where it has a clock chip, and the time of a
    login that has taken its while would set that back.
    """
    script = f"date -u -s @{now} >/dev/null"
    if restored:
        return script
    ahead = f"ahead=$(($(date +%s) - {now}))"
    return f"{ahead}; [ $ahead -ge 0 ] && [ $ahead -lt {_LOGIN_SECONDS} ] || {script}"


def wait(board: SystemBoard, run: Run, seconds: float) -> None:
    """Return when the board has taken a command, which also sets its clock and name.

    Raises :class:`PinnaceError` with the end of its console when it ends, its kernel gives up or ``seconds`` pass.
    """
    deadline = time.monotonic() + seconds
    heard = Heard(board.console)
    problem, door, patience = "no answer", _Door(heard, run), _COMMAND_SECONDS
    while time.monotonic() < deadline:
        if not run.alive:
            log = (board.console.parent / "supervisor.log").read_text(errors="replace")
            raise PinnaceError(
                f"{board.name} ended: {last_line(log)}", hint=last_words(board.console)
            )
        if heard.panic():
            raise PinnaceError(
                f"the kernel of {board.name} gave up; it was ended", hint=last_words(board.console)
            )
        if not door.opens():
            continue
        begin = time.monotonic()
        limit = min(patience, max(deadline - begin, _COMMAND_SECONDS))
        clock = set_clock(round(time.time()), restored=bool(run.incoming))
        done = command(board, _FRESHEN.format(clock=clock, name=board.name), limit)
        if done.returncode == 0:
            return
        problem = last_line(done.stderr)
        if time.monotonic() - begin >= limit:
            patience *= (
                2  # on a loaded machine every try would otherwise be ended before it is through
            )
        time.sleep(0.2)
    raise PinnaceError(
        f"{board.name} takes no command after {seconds:.0f} s ({problem}); it was ended",
        hint=last_words(board.console),
    )


class Heard:
    """What a board's console says from now on; what it said in an earlier life does not count."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._begin = log.stat().st_size if log.exists() else 0

    def panic(self) -> bool:
        """Whether the kernel gave up."""
        return _PANIC in self._text()

    def server(self) -> bool:
        """Whether the SSH server runs, or somebody may log in."""
        return bool(_STARTED.search(self._text()))

    def _text(self) -> bytes:
        try:
            new = self._log.stat().st_size - self._begin
        except FileNotFoundError:
            return b""
        return _end_of(self._log, min(new, 1 << 16))


class _Door:
    """Whether a board's SSH server answers, asked as seldom as possible.

    What connects before the server listens is not refused: QEMU keeps it, and a board that has just booted would
    answer all of it before the one who has a key. A restored machine answers at once.
    """

    def __init__(self, heard: Heard, run: Run) -> None:
        self._heard = heard
        self._run = run
        self._patience = 1.0
        self._asked = time.monotonic()

    def opens(self) -> bool:
        """Whether to log in now; returns after a moment when not."""
        if self._run.incoming:
            found = self._run.ready.exists()
        else:
            blind = time.monotonic() - self._asked > _BLIND_SECONDS
            found = (blind or self._heard.server()) and self._greets()
        if not found:
            time.sleep(0.02 if self._run.incoming else 0.1)
        return found

    def _greets(self) -> bool:
        self._asked = time.monotonic()
        found = _greets(self._run.port, self._patience)
        if time.monotonic() - self._asked > self._patience:
            # On a loaded machine the server may need longer than this for its first word.
            self._patience = min(self._patience * 1.2, 15.0)
        return found


def settle(board: SystemBoard) -> None:
    """Wait until the board's own start is over, so that a snapshot has nothing of it."""
    done = command(board, "systemctl is-system-running --wait; sync", 300)
    state = done.stdout.strip()
    if state != "running":
        failed = command(board, "systemctl --failed --plain --no-legend", 60).stdout
        raise PinnaceError(f"{board.name} is {state or 'silent'} after its start: {failed.strip()}")


def power_off(board: SystemBoard, run: Run) -> None:
    """Ask the board to power itself off; one that cannot is killed by the caller."""
    for _ in range(5):
        asked = command(board, "sudo systemctl --no-block poweroff", 30)
        if asked.returncode == 0 or not run.alive:
            return


def last_words(log: Path) -> str:
    """The end of a board's console, for the hint of an error."""
    text = _COLOUR.sub(b"", _end_of(log, 4096)).decode(errors="replace")
    lines = [
        "".join(char for char in line if char.isprintable()).strip() for line in text.splitlines()
    ]
    lines = [line for line in lines if line]
    return "its console ended with: " + " | ".join(lines[-_LAST_LINES:] or ["nothing"])


def _end_of(log: Path, size: int) -> bytes:
    """The last ``size`` bytes of a file; nothing when there is none."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - size))
            return stream.read()
    except FileNotFoundError:
        return b""


def _greets(port: int, seconds: float) -> bool:
    """Whether an SSH server answers. QEMU takes connections before the board listens: its banner counts."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
            connection.settimeout(seconds)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def command(board: SystemBoard, script: str, seconds: float) -> subprocess.CompletedProcess[str]:
    """How ``script`` ended on the board; 255, as ssh's own failures, when it took longer than ``seconds``."""
    words = board.ssh_command()
    options = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={min(seconds, 30):.0f}"]
    command_line = [*words[:-1], *options, words[-1], script]
    try:
        return subprocess.run(
            command_line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command_line, 255, "", "the command took too long")
