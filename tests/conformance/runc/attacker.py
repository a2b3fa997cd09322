"""An attacker who acts at the very moment that decides: between two system calls of the runtime.

Each attack can also be carried out against the runtime as it would be without its defence, to show that it is
one: a test that can't fail shows nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pinnace.linux import mountinfo
from pinnace.linux.kernel import Kernel
from pinnace.runc import native
from toolkit.paths import RUNTIME

both = pytest.mark.parametrize("undefended", [False, True], ids=["defended", "undefended"])
"""An attack on the runtime as it is, and on one without that defence, where it succeeds."""


class Attacker:
    """A process in the host's mount namespace, as one of another container with the same volume is.

    No thread: the runtime forks, and its child would have locks that a thread held.
    """

    def __init__(self, scratch: Path, attack: Callable[[], None]) -> None:
        self.go, self.done = (scratch / name for name in ("go", "done"))
        self._pid = os.fork()
        if self._pid == 0:
            try:
                self._wait(attack)
            finally:
                os._exit(0)

    def _wait(self, attack: Callable[[], None]) -> None:
        while not self.go.exists():
            time.sleep(0.001)
        attack()
        self.done.touch()

    def strike(self) -> None:
        """Called by the runtime's process, which is inside already: have it done, and wait for that."""
        self.go.touch()
        deadline = time.monotonic() + 10
        while not self.done.exists() and time.monotonic() < deadline:
            time.sleep(0.001)

    @property
    def struck(self) -> bool:
        return self.done.exists()

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


class Watched:
    """mount(2) under attack: ``before`` or ``after`` the one on ``target`` (a path's end) the attacker strikes.

    With ``by_path`` source and target of that call are paths, looked up anew by the kernel, instead of the
    descriptors that they were looked up as.
    """

    def __init__(self, target: str, attacker: Attacker, *, after: bool = False, by_path: bool = False) -> None:  # fmt: skip
        self._target = target
        self._attacker = attacker
        self._after = after
        self._by_path = by_path
        self._struck = False

    def install(self, monkeypatch: pytest.MonkeyPatch, host: Path, landed: Path) -> None:
        """What is mounted below ``host`` afterwards is noted in the file ``landed``."""
        if native.PROGRAM:
            program = self._compile(host, landed)
            monkeypatch.setattr(native, "PROGRAM", str(program))
            return
        real = Kernel.mount

        def mount(
            kernel: Kernel, source: str, target: str, kind: str, flags: int = 0, data: str = ""
        ) -> None:
            is_it = not self._struck and _path(target).endswith(self._target)
            self._struck = self._struck or is_it
            if is_it and self._by_path:
                source, target = _path(source), _path(target)
            if is_it and not self._after:
                self._attacker.strike()
            real(kernel, source, target, kind, flags, data)
            if is_it and self._after:
                self._attacker.strike()
            found = [each.target for each in mountinfo.read() if each.target.startswith(f"{host}/") or each.target == str(host)]  # fmt: skip
            if found:
                landed.write_text(" ".join(found))

        monkeypatch.setattr(Kernel, "mount", mount)

    def _compile(self, host: Path, landed: Path) -> Path:
        """The native init with the attack linked into it."""
        program = landed.with_name("init")
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            pytest.skip("needs a C compiler: the attack is linked into the native init")
        words = {
            "TARGET": self._target, "GO": self._attacker.go, "DONE": self._attacker.done, "HOST": host,
            "LANDED": landed,
        }  # fmt: skip
        sources = [
            *sorted((RUNTIME / "native").glob("init*.c")),
            Path(__file__).with_name("attacked.c"),
        ]
        subprocess.run(
            [
                compiler, "-std=gnu11", "-Wall", "-Wextra", "-Werror", f"-DAFTER={int(self._after)}",
                *(f'-D{name}="{value}"' for name, value in words.items()), "-Wl,--wrap=mount",
                "-o", program, *sources,
            ],
            check=True,
        )  # fmt: skip
        return program


def _path(place: str) -> str:
    return os.readlink(place) if place.startswith("/proc/self/fd/") else place
