"""The programs that make and run full-system boards, each from Debian, unpacked and never installed."""

from __future__ import annotations

import functools
import os
import re
import subprocess
from pathlib import Path

from toolkit.arch import Arch
from toolkit.boards.system.choice import remembered
from toolkit.debian import Archive
from toolkit.debian_program import started_in
from toolkit.errors import MissingPrerequisite

SUITE = "trixie"

_PACKAGES = (
    "qemu-system-arm",
    "qemu-utils",
    "e2fsprogs",  # its mke2fs reads a tar archive, which Debian 12's does not
    "libarchive13t64",
    "mtools",
    "kmod",
    "openssl",
    "python3.13-minimal",
)

MINIMUM_QEMU = (9, 0)
"""raspi4b and snapshots in files that are mapped came with it."""


@functools.cache
def folder() -> Path:
    """The directory with all of them and the libraries they need."""
    machine = Arch.from_machine(os.uname().machine)
    archive = Archive(SUITE, machine.facts.debian)
    return remembered("tools", _PACKAGES, lambda: archive.unpack(_PACKAGES, dependencies=True))


def command(program: str) -> list[str]:
    """The words that start ``program`` (``usr/bin/mcopy``) with the libraries of its own release."""
    return list(started_in(folder(), program))


def qemu(program: str) -> list[str]:
    """The words that start one of QEMU's system emulators, and where it finds its own files."""
    return [*command(f"usr/bin/{program}"), "-L", str(folder() / "usr/share/qemu")]


def check_qemu(program: str) -> None:
    """Raise :class:`MissingPrerequisite` when it is older than boards need, or does not run."""
    words = [*command(f"usr/bin/{program}"), "--version"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    check_version(program, done.stdout)


def check_version(program: str, text: str) -> None:
    """Raise unless ``text``, what ``program --version`` printed, names a QEMU that is new enough."""
    found = re.search(r"version (\d+)\.(\d+)", text)
    wanted = ".".join(str(number) for number in MINIMUM_QEMU)
    if found is None:
        raise MissingPrerequisite(f"{program} does not run here", hint=f"QEMU {wanted} is needed")
    if (int(found[1]), int(found[2])) < MINIMUM_QEMU:
        raise MissingPrerequisite(
            f"{program} is QEMU {found[1]}.{found[2]}, and full-system boards need {wanted} or newer",
            hint="PINNACE_DEBIAN_MIRROR should name a mirror that has Debian 13",
        )
