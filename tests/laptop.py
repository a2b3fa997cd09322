"""`./inv` as a person types it, for tests of whole commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from toolkit.paths import PROJECT


class Laptop:
    """Where `./inv` is typed: an inventory of its own, and no terminal."""

    def __init__(self, folder: Path, **environment: str) -> None:
        """``environment``: variables that are set besides those of the tests."""
        self._folder = folder
        self._environment = {**os.environ, "COLUMNS": "200", **environment}
        self.inventory("")

    def inventory(self, text: str) -> None:
        (self._folder / "inventory.ini").write_text(text)

    def inv(self, *words: str, typed: str = "", limit: float = 600) -> subprocess.CompletedProcess[str]:  # fmt: skip
        command = [sys.executable, "-m", "invoke", words[0], "--inventory", str(self._folder / "inventory.ini"), *words[1:]]  # fmt: skip
        return subprocess.run(
            command, cwd=PROJECT, input=typed, capture_output=True, text=True, timeout=limit,
            check=False, env=self._environment,
        )  # fmt: skip
