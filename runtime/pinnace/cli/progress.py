"""Progress of a transfer: a line for each blob with a bar, elapsed time and total, redrawn in place.

On a terminal it is drawn ten times a second; elsewhere only the final state is printed, once.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from pinnace.cli.tables import size, tabulate

if TYPE_CHECKING:
    from pinnace.api.schema.transfertypes import Progress

_INTERVAL = 0.1
_BAR = 38
_DONE = ("complete", "done", "already exists", "extracted", "saved", "resolved", "exists")


class _Line:
    __slots__ = ("event", "moved", "total")

    def __init__(self) -> None:
        self.event = ""
        self.moved = 0
        self.total = 0


class Display:
    """Shows the progress messages it is given; use as a context around the transfer."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._lines: dict[str, _Line] = {}
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._live = sys.stdout.isatty()
        self._drawn = 0
        self._stop = threading.Event()
        self._drawer: threading.Thread | None = None
        self.saved: list[tuple[str, str]] = []

    def __enter__(self) -> Display:
        if self._live:
            self._drawer = threading.Thread(target=self._draw_often, daemon=True)
            self._drawer.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._stop.set()
        if self._drawer is not None:
            self._drawer.join()
        if self._live or kind is None:
            self._draw()

    def hear(self, progress: Progress) -> None:
        """Take one message; from any thread."""
        with self._lock:
            if progress.event == "saved":
                digest = progress.desc.digest if progress.desc else ""
                self.saved.append((progress.name, digest))
            name = progress.name or self._title
            line = self._lines.setdefault(name, _Line())
            line.event = progress.event
            line.moved = max(line.moved, progress.progress)
            line.total = max(line.total, progress.total)

    def _draw_often(self) -> None:
        while not self._stop.wait(_INTERVAL):
            self._draw()

    def _draw(self) -> None:
        with self._lock:
            text = self._text()
        if self._live:
            # Up to the first of our lines, and each line cleared to its end (ECMA-48 CPL and EL).
            up = f"\x1b[{self._drawn}F" if self._drawn else ""
            text_lines = text.split("\n")[:-1]
            self._drawn = len(text_lines)
            text = up + "".join(f"{line}\x1b[K\n" for line in text_lines)
        sys.stdout.write(text)
        sys.stdout.flush()

    def _text(self) -> str:
        width = _terminal_width() if self._live else 0
        rows = [self._row(name, line) for name, line in self._lines.items()]
        elapsed = time.monotonic() - self._started
        moved = sum(line.moved for line in self._lines.values())
        rate = moved / elapsed if elapsed > 0 else 0
        body = tabulate(rows, minimum=1, padding=1)
        body += f"elapsed: {elapsed:.1f} s\ttotal: {size(moved)} ({size(int(rate))}/s)\n".expandtabs(8)  # fmt: skip
        if not width:
            return body
        # A line that wraps could not be drawn over.
        return "".join(f"{line[:width]}\n" for line in body.split("\n")[:-1])

    def _row(self, name: str, line: _Line) -> str:
        done = line.event in _DONE
        part = 1.0 if done else (line.moved / line.total if line.total else 0.0)
        bar = "+" * int(part * _BAR)
        amount = "" if done or not line.total else f"{size(line.moved)}/{size(line.total)}"
        return f"{name}:\t{line.event}\t|{bar:-<{_BAR}}|\t{amount}\t"


def _terminal_width() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except OSError:
        return 80
