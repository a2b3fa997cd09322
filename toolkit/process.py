"""Programs that must succeed: a failure becomes one sentence with the last line they wrote."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from toolkit.errors import PinnaceError

Words = Sequence[str | Path]


def run(command: Words, doing: str, *, stdout: IO[bytes] | None = None) -> None:
    """Run a program; raise :class:`PinnaceError` (``doing`` failed, and why) when it fails.

    Standard output is dropped, or goes to the open file ``stdout``.
    """
    out = subprocess.DEVNULL if stdout is None else stdout
    done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise PinnaceError(f"{doing} failed: {last_line(done.stderr.decode(errors='replace'))}")


def last_line(text: str) -> str:
    """The last line of a program's output that says something, for a one-line error."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # mount(8) ends with general advice; what happened is in the line before it.
    lines = [line for line in lines if "dmesg(1) may have" not in line] or lines
    return lines[-1] if lines else "no message"


def start_time(pid: int) -> int:
    """When process ``pid`` began, in clock ticks since boot; 0 when there is no such process.

    With it a recorded pid is told from another process that got the same number later
    (proc_pid_stat(5), field 22).
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    fields = text.rpartition(")")[2].split()
    return 0 if fields[0] in ("Z", "X") else int(fields[19])
