"""What ``skopeo copy`` shows: a line for each blob; bars on a terminal."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

from pinnace.cli.tables import size
from pinnace.images import progress
from pinnace.spec import image as images

if TYPE_CHECKING:
    from typing import Self

    from pinnace.images.progress import Progress

_INTERVAL = 0.1
_BAR = 30
_SHORT = 12  # hexadecimal digits, as skopeo shows them


class Display:
    """Shows what a copy reports; use as a context around it."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._live = sys.stdout.isatty() and not quiet
        self._lock = threading.Lock()
        self._moving: dict[str, Progress] = {}
        self._finished: list[str] = []
        self._drawn = 0
        self._stop = threading.Event()
        self._drawer: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._live:
            self._drawer = threading.Thread(target=self._draw_often, daemon=True)
            self._drawer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._drawer:
            self._drawer.join()
            self._draw()

    def hear(self, item: Progress) -> None:
        """Take one report; from any thread."""
        if self._quiet:
            return
        with self._lock:
            if item.event == progress.SAYING:
                self._say(item.name)
            elif item.event in (progress.COMPLETE, progress.EXISTS):
                self._moving.pop(item.name, None)
                skipped = " (already there)" if item.event == progress.EXISTS else ""
                self._say(f"Copying {_what(item)} done{skipped}")
            elif self._live:
                self._moving[item.name] = item

    def _say(self, text: str) -> None:
        if self._live:
            self._finished.append(text)
        else:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()

    def _draw_often(self) -> None:
        while not self._stop.wait(_INTERVAL):
            self._draw()

    def _draw(self) -> None:
        with self._lock:
            finished, self._finished = self._finished, []
            moving = [self._bar(item) for item in self._moving.values()]
        # Up to the first of our bars, and each line cleared to its end (ECMA-48, CPL and EL).
        up = f"\x1b[{self._drawn}F" if self._drawn else ""
        width = _width()
        lines = [f"{line[:width]}\x1b[K\n" for line in (*finished, *moving)]
        sys.stdout.write(up + "".join(lines) + "\x1b[J")
        sys.stdout.flush()
        self._drawn = len(moving)

    def _bar(self, item: Progress) -> str:
        part = item.offset / item.total if item.total else 0.0
        bar = "=" * int(part * _BAR)
        return f"Copying {_what(item)} [{bar:-<{_BAR}}] {size(item.offset)} / {size(item.total)}"


def _what(item: Progress) -> str:
    kind = item.descriptor.media_type if item.descriptor else ""
    algorithm, _, digits = item.name.partition(":")
    return f"{'config' if images.is_config(kind) else 'blob'} {algorithm}:{digits[:_SHORT]}"


def _width() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except OSError:
        return 80
