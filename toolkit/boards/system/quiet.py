"""Whether a machine has anything left to do: told from outside, by what its processors ask of this machine.

A board that says it has started still has drivers probing and devices being named. A machine kept in the midst
of that does it again after every restore, beside the first login.
"""

from __future__ import annotations

import time
from pathlib import Path

_LOOK_SECONDS = 1.0
_LOOKS = 3
"""So many looks in a row have to find it quiet."""

_SHARE = 0.3
"""Of one processor: an idle board's clock takes a twentieth, a Raspberry Pi's USB host a fifth."""

_NANOSECONDS = 1e9


def wait(pid: int, seconds: float) -> bool:
    """Wait until the machine of the QEMU process ``pid`` is quiet; false when it is not within ``seconds``."""
    deadline = time.monotonic() + seconds
    in_a_row, before, then = 0, wanted(pid), time.monotonic()
    while time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        now, asked = time.monotonic(), wanted(pid)
        # Less than before: a thread has ended and took its count along.
        in_a_row = in_a_row + 1 if 0 <= asked - before < _SHARE * (now - then) else 0
        if in_a_row == _LOOKS:
            return True
        before, then = asked, now
    return False


def wanted(pid: int, proc: Path = Path("/proc")) -> float:
    """Seconds that a process's threads ran or wanted to run: on a loaded machine they wait more than they run.

    Facts: the kernel's Documentation/scheduler/sched-stats.rst, "/proc/<pid>/schedstat".
    """
    total = 0
    for path in (proc / str(pid) / "task").glob("*/schedstat"):
        try:
            ran, waited, _ = path.read_text().split()
        except OSError:
            continue  # the thread ended meanwhile
        total += int(ran) + int(waited)
    return total / _NANOSECONDS
