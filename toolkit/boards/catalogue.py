"""Which emulated boards there are, and what a board's name means.

A name is ``emu-<architecture>`` under user emulation and ``sys-<machine>`` for a whole machine, or, for
further boards of the same kind, that with a word behind (``emu-amd64-2``, ``sys-arm64-16k-ci``): every
word makes a board of its own, with its own disk and address.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from toolkit.arch import Arch
from toolkit.boards.system.model import Model, models
from toolkit.errors import UsageError

_NAME = re.compile(r"(?P<tier>emu)-(?P<label>[a-z0-9]+)(?:-(?P<word>[a-z0-9]{1,16}))?")


@dataclass(frozen=True, slots=True)
class Spec:
    """What a board is: its name, processor and Debian release."""

    name: str
    arch: Arch

    @property
    def release(self) -> str:
        return self.arch.facts.debian_release


def names() -> list[str]:
    """The boards that need no further word: one per architecture, then one per machine."""
    return [*(f"emu-{arch.label}" for arch in Arch), *(f"sys-{label}" for label in models())]


def find_model(name: str) -> Model | None:
    """The machine of the full-system board called ``name``; ``None`` when it is none."""
    known = models()
    # The longest label that fits: arm64-16k is a machine, and arm64-2 the second arm64.
    for label in sorted(known, key=len, reverse=True):
        if re.fullmatch(rf"sys-{re.escape(label)}(-[a-z0-9]{{1,16}})?", name):
            return known[label]
    return None


def find(name: str) -> Spec:
    """What the board called ``name`` is; raises :class:`UsageError` for a name that is none."""
    match = _NAME.fullmatch(name)
    if match:
        for arch in Arch:
            if arch.label == match["label"]:
                return Spec(name, arch)
    raise UsageError(
        f"there is no board called {name!r}",
        hint=f"boards are {', '.join(names())}, and these with a word behind (emu-amd64-2)",
    )
