"""A checkout with the native program that a release has beside it, for what only then is as on a board: shims that doze."""

from __future__ import annotations

import os
from pathlib import Path

from toolkit.arch import Arch
from toolkit.build import native
from toolkit.paths import RUNTIME


def release(place: Path) -> Path:
    """Lay it out below ``place``; what PYTHONPATH has to name."""
    (place / "lib").mkdir(parents=True)
    (place / "libexec").mkdir()
    (place / "lib/pinnace").symlink_to(RUNTIME / "pinnace")
    program = native.build("doze", Arch.from_machine(os.uname().machine), "0")
    (place / "libexec/doze").symlink_to(program)
    return place / "lib"
