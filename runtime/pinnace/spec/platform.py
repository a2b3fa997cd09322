"""Platforms: which images a machine can run, and which of several it should.

Promise: a board is asked for what its *userland* can run. ``uname -m`` says ``aarch64`` under a
64-bit kernel even where every program is 32-bit, so the ELF header of the running interpreter
decides (moby#37647, raspberrypi/firmware#1795); among 32-bit ARM images the newest variant that
the processor runs wins: v8, v7, v6, v5.

Names and normal forms: OCI image index spec, "platform", and containerd's platforms package.
"""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, NamedTuple

from pinnace.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
_ALIASES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv5l": ("arm", "v5"),
    "armv6l": ("arm", "v6"),
    "armv7l": ("arm", "v7"),
    "armv8l": ("arm", "v8"),
}
_ARCHITECTURES = frozenset(
    [
        "386",
        "amd64",
        "arm",
        "arm64",
        "loong64",
        "mips",
        "mips64",
        "mips64le",
        "mipsle",
        "ppc64",
        "ppc64le",
        "riscv64",
        "s390x",
        "wasm",
    ]
)
_SYSTEMS = frozenset(["linux", "windows", "darwin", "freebsd", "wasip1"])
_ARM = ("v8", "v7", "v6", "v5")
_AMD = ("v4", "v3", "v2", "v1")

# e_machine of the ELF header (elf.h) to the architecture names of OCI.
_ELF_MACHINES = {
    3: "386",
    21: "ppc64le",
    22: "s390x",
    40: "arm",
    62: "amd64",
    183: "arm64",
    243: "riscv64",
    258: "loong64",
}


class Platform(NamedTuple):
    """Operating system, architecture and variant in normal form (arm64/v8 is plain arm64)."""

    os: str = "linux"
    architecture: str = ""
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in self if part)

    def match(self, candidate: Platform) -> int | None:
        """How well an image for *candidate* suits this platform: 0 best, None not at all."""
        candidate = normalize(candidate)
        if candidate.os != self.os:
            return None
        try:
            return _runnable(self).index((candidate.architecture, candidate.variant))
        except ValueError:
            return None


def normalize(platform: Platform) -> Platform:
    """The normal form: aliases resolved, implied variants removed or filled in."""
    architecture, variant = platform.architecture.lower(), platform.variant.lower()
    architecture, implied = _ALIASES.get(architecture, (architecture, ""))
    variant = variant or implied
    if variant and variant[0].isdigit():
        variant = f"v{variant}"
    if architecture == "arm":
        variant = variant or "v7"
    elif (architecture, variant) in (("arm64", "v8"), ("amd64", "v1")):
        variant = ""
    return Platform(platform.os.lower() or "linux", architecture, variant)


def parse(text: str) -> Platform:
    """``linux/arm/v7``, ``arm64``, ``armhf``, ``linux``: what --platform accepts.

    Raises InvalidArgument for an unknown word.
    """
    parts = text.split("/")
    if len(parts) > 3 or not all(_WORD.match(part) for part in parts):
        raise InvalidArgument(
            f"invalid platform {text[:100]!r}", hint="write os/architecture[/variant]: linux/arm/v6"
        )
    if len(parts) == 1:
        word = parts[0].lower()
        if word in _SYSTEMS:
            return default()._replace(os=word)
        parts = ["linux", word]
    platform = normalize(Platform(*parts))
    if platform.architecture not in _ARCHITECTURES:
        raise InvalidArgument(
            f"invalid platform {text[:100]!r}: unknown architecture {parts[1]!r}",
            hint="such as linux/arm/v6, linux/arm/v7, linux/arm64, linux/amd64",
        )
    return platform


def _runnable(platform: Platform) -> Sequence[tuple[str, str]]:
    """What the platform runs, best first (arm64 processors of boards also run 32-bit ARM)."""
    architecture, variant = platform.architecture, platform.variant
    if architecture == "arm":
        newest = _ARM.index(variant) if variant in _ARM else 1
        return [("arm", each) for each in _ARM[newest:]]
    if architecture == "arm64":
        exact = [("arm64", variant)] if variant else []
        return [*exact, ("arm64", ""), *(("arm", each) for each in _ARM)]
    if architecture == "amd64":
        newest = _AMD.index(variant) if variant in _AMD else 3
        newer = [("amd64", each) for each in _AMD[newest:] if each != "v1"]
        return [*newer, ("amd64", ""), ("386", "")]
    return [(architecture, variant)]


def best(platform: Platform, candidates: Iterable[Platform]) -> int | None:
    """Index of the candidate that suits *platform* best (the first among equals), or None."""
    ranked = [
        (rank, index)
        for index, candidate in enumerate(candidates)
        if (rank := platform.match(candidate)) is not None
    ]
    return min(ranked)[1] if ranked else None


_default: Platform | None = None


def default() -> Platform:
    """The platform of this machine's userland (read once)."""
    global _default
    if _default is None:
        _default = detect(sys.executable or "/proc/self/exe", os.uname().machine)
    return _default


def detect(executable: str, machine: str) -> Platform:
    """The platform that programs like *executable* run on, under a kernel that says *machine*.

    The ELF header gives the architecture; only 32-bit ARM asks the kernel, for the variant: an
    ``aarch64`` kernel means an ARMv8 processor, which runs every older variant.
    """
    architecture = _elf_architecture(executable) or _ALIASES.get(machine, (machine, ""))[0]
    if architecture != "arm":
        return normalize(Platform("linux", architecture))
    if machine in ("aarch64", "arm64"):
        return Platform("linux", "arm", "v8")
    found = re.match(r"armv([5-8])", machine)
    return Platform("linux", "arm", f"v{found[1]}" if found else "v6")


def _elf_architecture(path: str) -> str:
    """Architecture named by an ELF header, or nothing when the file is not ELF."""
    try:
        with open(path, "rb") as file:
            header = file.read(20)
    except OSError:
        return ""
    if len(header) < 20 or header[:4] != b"\x7fELF":
        return ""
    order = "little" if header[5] == 1 else "big"
    return _ELF_MACHINES.get(int.from_bytes(header[18:20], order), "")  # type: ignore[arg-type]
