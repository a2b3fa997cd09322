"""A board as a test has it: commands, files, power and console."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from testinfra.backend.base import BaseBackend
from testinfra.host import Host

from toolkit.boards import capability
from toolkit.boards.board import Board
from toolkit.errors import HostFailed, HostUnreachable
from toolkit.process import last_line
from toolkit.pytest_boards import files
from toolkit.pytest_boards.shell import Completed, Shell

_REBOOT_SECONDS = 600.0


class RunningBoard:
    """A running board, of this test module alone.

    ``kind`` is the name that the catalogue has for it (``emu-armv6l``); everything raises a
    :class:`~toolkit.errors.PinnaceError` when it cannot be done.
    """

    def __init__(self, board: Board, kind: str) -> None:
        self._board = board
        self._shell = Shell(board)
        self.kind = kind
        self.name = board.name
        self.arch = board.arch.label
        self.tier = board.tier
        self.shows = board.shows

    def __repr__(self) -> str:
        return f"<board {self.name}: {self.arch}, {self.tier}>"

    @cached_property
    def host(self) -> Any:
        """The board as testinfra sees it; every command runs as root."""
        return Host(_Backend(self))

    def run(
        self,
        command: str | Sequence[str],
        *,
        sudo: bool = False,
        check: bool = True,
        stdin: bytes = b"",
        timeout: float = 120,
    ) -> Completed:
        """Run a shell command, or a program with its arguments, as ``pi`` or with ``sudo`` as root.

        Raises :class:`HostFailed` when it fails, unless ``check`` is false, or takes longer than ``timeout`` seconds.
        """
        text = command if isinstance(command, str) else shlex.join(command)
        done = self._shell.run(
            f"sudo -n sh -c {shlex.quote(text)}" if sudo else text, stdin=stdin, timeout=timeout
        )
        if check and done.status:
            why = last_line(done.stderr.decode(errors="replace"))
            raise HostFailed(f"{self.name}: {text!r} ended with {done.status}: {why}")
        return done

    def put(
        self,
        source: Path | str | bytes,
        target: str,
        *,
        mode: int | None = None,
        sudo: bool = False,
    ) -> None:
        """Bring a file, a directory or bytes to the absolute path ``target``, with directories above it."""
        content = Path(source) if isinstance(source, str) else source
        data, command = files.packed(content, target, mode)
        self.run(command, sudo=sudo, stdin=data, timeout=600)

    def get(self, source: str, target: Path | str, *, sudo: bool = False) -> Path:
        """Fetch a file or directory of the board to the path ``target``; returns that path."""
        done = self.run(files.packing(source), sudo=sudo, timeout=600)
        files.unpack(done.stdout, source, Path(target))
        return Path(target)

    def reboot(self) -> None:
        """Have the board restart itself, and come back to it."""
        before = self._boot_id()
        self._shell.run("sudo -n systemctl --no-block reboot", timeout=30)
        self._shell.close()
        self._wait_for_boot(lambda found: found != before)

    def power_cut(self, *, kept: float = 0.0, seed: int = 0) -> None:
        """Cut its power: what was not synced is lost. :meth:`start` boots it again.

        A share ``kept`` of what the disk had not written for good yet, chosen by ``seed``, is there nevertheless.
        """
        self._need(capability.POWER_CUT)
        self._shell.close()
        self._board.power_cut(kept=kept, seed=seed)

    def start(self) -> None:
        """Boot it, where it does not run."""
        self._board.start()

    def export(self, target: Path | str) -> Path:
        """Keep its disk as the directory ``target``, for ``board(image=)``; it restarts. Returns the path.

        Everybody who has the directory can log in on boards made from it.
        """
        self._need(capability.OWN_KERNEL)
        self._shell.close()
        self._board.stop()
        try:
            self._board.export(Path(target).absolute())
        finally:
            self._board.start()
        return Path(target)

    @property
    def serial(self) -> str:
        """What its serial console has said since it was started."""
        self._need(capability.CONSOLE)
        return self._board.console.read_text(errors="replace")

    def discard(self) -> None:
        """End the connection and destroy the board."""
        self._shell.discard()
        self._board.destroy()

    def _need(self, word: str) -> None:
        if word not in self.shows:
            raise HostFailed(
                f"{self.name} cannot show {word}: {capability.MEANING[word]}",
                hint=f'mark the test with pytest.mark.requires("{word}")',
            )

    def _boot_id(self) -> str:
        return self.run("cat /proc/sys/kernel/random/boot_id", timeout=30).text

    def _wait_for_boot(self, is_new: Callable[[str], bool]) -> None:
        deadline = time.monotonic() + _REBOOT_SECONDS
        while True:
            try:
                if is_new(self._boot_id()):
                    return
                problem = "it still runs as before"
            except (HostUnreachable, HostFailed) as found:
                problem = found.message
            if time.monotonic() > deadline:
                raise HostFailed(f"{self.name} did not come back from its reboot: {problem}")
            self._shell.close()
            time.sleep(0.5)


class _Backend(BaseBackend):  # type: ignore[misc]
    """testinfra over the board's own connection."""

    NAME = "pinnace-boards"

    def __init__(self, board: RunningBoard) -> None:
        super().__init__(board.name)
        self._running = board

    def run(self, command: str, *args: str, **_: Any) -> Any:
        text = self.quote(command, *args)
        done = self._running.run(text, sudo=True, check=False, timeout=300)
        return self.result(done.status, self.encode(text), done.stdout, done.stderr)
