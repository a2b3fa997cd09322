"""A pytest plugin that puts two boards in place of all others; they tell in ``boards.log`` what is done with them.

Commands on them run on this machine: ``conftest.py`` has the ``ssh`` for it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from toolkit import boards
from toolkit.arch import Arch
from toolkit.boards.board import Board

KINDS = {
    "sys-armv6l": (Arch.ARMV6L, frozenset({"console"})),
    "sys-arm64": (Arch.ARM64, frozenset({"console", "power-cut", "seccomp"})),
}


class Pretended(Board):
    release = "trixie"
    tier = "system"
    cpu = kernel = address = host_key = ""
    is_created = is_running = False
    ssh_key = known_hosts = console = Path()

    def __init__(self, name: str) -> None:
        self.name = name
        self.kind = "-".join(name.split("-")[:2])
        self.arch, self._shows = KINDS[self.kind]
        self._log = Path(os.environ["BOARDS_LOG"])
        self.console = self._log.with_name("console.log")

    @property
    def shows(self) -> frozenset[str]:
        return self._shows

    def create(self, *, yes: bool = False, system: str = "") -> None: ...

    def stop(self) -> None: ...

    def start(self, *, yes: bool = False, cold: bool = False) -> None:
        self._tell("start")
        self.console.write_text("the kernel says hello\n")

    def destroy(self) -> None:
        self._tell("destroy")

    def power_cut(self, *, kept: float = 0.0, seed: int = 0) -> None:
        self._tell("cut")

    def ssh_command(self, words: Sequence[str] = (), *, terminal: bool = False) -> list[str]:
        return ["ssh", "here", "--", *words]

    def _tell(self, what: str) -> None:
        with self._log.open("a") as log:
            log.write(f"{what} {self.kind}\n")


def pytest_configure(config: pytest.Config) -> None:
    """For this run only: it may be inside of another."""
    patch = pytest.MonkeyPatch()
    patch.setattr(boards, "names", lambda: list(KINDS))
    patch.setattr(boards, "get", Pretended)
    config.add_cleanup(patch.undo)
