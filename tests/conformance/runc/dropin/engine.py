"""What the engines share: a program with its libraries in an arena, and an image to run."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from toolkit.arch import Arch
from toolkit.arena import Arena
from toolkit.debian import Archive

IMAGE = "registry.lab/library/busybox:latest"
# Parts of the C library, which have to be of one build: the machine's own are used.
_C_LIBRARY = re.compile(r"(ld-linux|lib(c|m|dl|rt|pthread|resolv|util|nss_\w+|anl)\.so)")


def packages(suite: str, *names: str) -> Path:
    """The unpacked packages with all they need."""
    machine = Arch.from_machine(os.uname().machine)
    return Archive(suite, machine.facts.debian).unpack(list(names), dependencies=True)


def environment(arena: Arena, root: Path) -> dict[str, str]:
    """Programs of ``root`` first."""
    folders = ":".join(str(root / name) for name in ("usr/bin", "usr/sbin"))
    return {"PATH": f"{folders}:{os.environ['PATH']}", "HOME": str(arena.scratch)}


def with_libraries(arena: Arena, root: Path) -> list[str]:
    """The words that start a program with the libraries of ``root``, but the machine's C library."""
    libraries = arena.scratch / "libraries"
    libraries.mkdir()
    for pattern in ("lib/*-linux-gnu*/*.so*", "usr/lib/*-linux-gnu*/*.so*"):
        for library in root.glob(pattern):
            link = libraries / library.name
            if not _C_LIBRARY.match(library.name) and not link.is_symlink():
                link.symlink_to(library)
    return ["env", f"LD_LIBRARY_PATH={libraries}"]


class Engine:
    """A client's command line in an arena."""

    def __init__(self, arena: Arena, words: list[str], environment: dict[str, str]) -> None:
        self.arena = arena
        self._words = words
        self.environment = environment

    def words(self, *words: str) -> list[str]:
        """The command line that ``run`` runs."""
        return [*self._words, *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.arena.run(self.words(*words), env=self.environment, timeout=60)

    def ok(self, *words: str) -> str:
        """Run a command that must succeed; what it prints."""
        done = self.run(*words)
        assert done.returncode == 0, f"{words}: {done.stderr}{done.stdout}"
        return done.stdout
