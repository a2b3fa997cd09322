"""Running a program of an unpacked Debian package with the libraries of its own release.

A program from a newer Debian than this machine's needs a newer C library. It is started through the
dynamic loader that was unpacked beside it, so that nothing of the machine's own libraries is used.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

from toolkit.arch import Arch
from toolkit.debian import Archive


@functools.cache
def command(suite: str, package: str, program: str) -> tuple[str, ...]:
    """The words that start ``program`` (``usr/bin/skopeo``) of ``package`` on this machine."""
    machine = Arch.from_machine(os.uname().machine)
    root = Archive(suite, machine.facts.debian).unpack([package], dependencies=True)
    return started_in(root, program)


def started_in(root: Path, program: str) -> tuple[str, ...]:
    """The same for packages, with all their dependencies, that were unpacked in ``root``.

    Without a C library among them the program is a static one.
    """
    folders = [
        str(folder)
        for pattern in ("lib/*-linux-gnu*", "usr/lib/*-linux-gnu*")
        for folder in sorted(root.glob(pattern))
    ]
    for folder in folders:
        for loader in sorted(Path(folder).glob("ld-linux*.so.*")):
            return (str(loader), "--library-path", ":".join(folders), str(root / program))
    return (str(root / program),)
