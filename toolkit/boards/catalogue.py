"""Which emulated boards there are, and what a board's name means.

A name is ``emu-<architecture>`` or, for further boards of the same kind, ``emu-<architecture>-<word>``
(``emu-amd64-2``): every word makes a board of its own, with its own disk, keys and address.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from toolkit.arch import Arch
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
    """The boards that need no further word: one per architecture."""
    return [f"emu-{arch.label}" for arch in Arch]


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
