"""How many inotify instances root may have: the systemd of each board takes some, all from one account.

The kernel's 128 are enough for twenty boards; the next one's systemd ends without a word.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
PER_BOARD = 16
"""Seen: six on a board at rest."""


def fit(boards: int, note: Path) -> None:
    """Make room for one board more than ``boards``; without boards the limit is again what ``note`` keeps."""
    if not boards:
        with suppress(OSError):
            LIMIT.write_text(note.read_text())
            note.unlink()
        return
    with suppress(OSError):  # a container's /proc/sys may be read-only, and the limit high enough
        found = int(LIMIT.read_text())
        wanted = 128 + PER_BOARD * boards
        if found < wanted:
            if not note.exists():
                note.write_text(str(found))
            LIMIT.write_text(str(wanted))
