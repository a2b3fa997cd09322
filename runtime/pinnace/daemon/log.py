"""The daemon's log: lines on standard error, as systemd's journal takes them (sd-daemon(3)).

No ``logging``: importing it would cost a third of the daemon's start.
"""

from __future__ import annotations

import sys
import threading
import time

_LEVELS = {"trace": 8, "debug": 7, "info": 6, "warn": 4, "error": 3, "fatal": 2, "panic": 2}


class Log:
    """Writes what is at least as grave as ``level``; with a journal behind it, with priorities."""

    def __init__(self, level: str = "info", *, journal: bool = False, form: str = "text") -> None:
        """``form`` is ``text``, or ``json`` for an object a line with containerd's keys."""
        self._threshold = _LEVELS[level]
        self._json = form == "json"
        self._journal = journal
        self._lock = threading.Lock()

    def set_level(self, level: str) -> None:
        """Write what is at least as grave as ``level`` from now on."""
        self._threshold = _LEVELS[level]

    def debug(self, text: str) -> None:
        self._write("debug", text)

    def info(self, text: str) -> None:
        self._write("info", text)

    def warn(self, text: str) -> None:
        self._write("warn", text)

    def error(self, text: str) -> None:
        self._write("error", text)

    def _write(self, level: str, text: str) -> None:
        priority = _LEVELS[level]
        if priority > self._threshold:
            return
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        prefix = f"<{priority}>" if self._journal else ""
        if self._json:
            lines = prefix + _object(level, text, stamp)
        else:
            prefix = prefix or f"{stamp} {level} "
            lines = "".join(f"{prefix}{line}\n" for line in text.splitlines())
        with self._lock:
            try:
                sys.stderr.write(lines)
                sys.stderr.flush()
            except OSError:
                return  # nobody reads; the daemon does not end for that


def _object(level: str, text: str, stamp: str) -> str:
    import json

    word = "warning" if level == "warn" else level  # as containerd's logger has it
    return json.dumps({"level": word, "msg": text, "time": stamp}, ensure_ascii=False) + "\n"
