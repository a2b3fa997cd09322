"""``--log``, ``--log-format`` and ``--debug``: containerd's shim and conmon read there why a command failed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pinnace.cli.options import Call


class Log:
    """Lines as logrus writes them, text or JSON; a log that was not asked for takes nothing.

    ``command`` is the name of the command that is run, or empty when the words are wrong.
    """

    def __init__(self, path: str, form: str, *, verbose: bool, command: str) -> None:
        self.command = command
        self._path = path
        self._form = form
        self._verbose = verbose

    @classmethod
    def of(cls, call: Call | None) -> Log:
        """The log that a command line asks for; None is one that is wrong."""
        if call is None:
            return cls("", "text", verbose=False, command="")
        form, verbose = call.text("log-format"), call.on("debug")
        return cls(call.text("log"), form, verbose=verbose, command=call.command.name)

    def error(self, message: str) -> None:
        """An error; without a file it is on standard error anyway."""
        if self._path:
            self._write("error", message)

    def debug(self, message: str) -> None:
        if self._verbose:
            self._write("debug", message)

    def trace(self, problem: Exception) -> None:
        """Where an exception came from, with ``--debug``: what is needed to report a defect."""
        if self._verbose:
            import traceback

            self._write("debug", "".join(traceback.format_exception(problem)))

    def _write(self, level: str, message: str) -> None:
        import json
        import time

        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = f'time="{now}" level={level} msg={json.dumps(message)}'
        if self._form == "json":
            line = json.dumps({"level": level, "msg": message, "time": now})
        if not self._path:
            sys.stderr.write(line + "\n")
            return
        try:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as refused:
            sys.stderr.write(f"runc: cannot write {self._path}: {refused.strerror}\n")
