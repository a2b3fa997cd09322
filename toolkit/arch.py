"""Architecture facts in one place: what each tool calls the same processor.

ARMv6 and ARMv7 are kept apart everywhere: Debian's ``armhf`` is ARMv7 and dies with an illegal
instruction on an ARMv6 board, which therefore is Debian ``armel`` (or Raspberry Pi OS's own armhf).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from toolkit.errors import UsageError


@dataclass(frozen=True, slots=True)
class ArchFacts:
    """The names of one architecture.

    Attributes:
        machine: what ``uname -m`` says.
        debian: the Debian architecture whose packages run on it.
        oci: architecture and variant of the OCI image specification (``arm/v6``).
        qemu: suffix of the user-mode emulator (``qemu-arm``), empty on amd64.
        qemu_cpu: the CPU model that has this instruction set and no newer one.
        zig_target, zig_cpu: target triple and CPU for ``zig cc``.
        debian_release: the newest Debian release that has this architecture complete.
    """

    machine: str
    debian: str
    oci: str
    qemu: str
    qemu_cpu: str
    zig_target: str
    zig_cpu: str
    debian_release: str


class Arch(Enum):
    """The architectures a board can have."""

    ARMV6L = ArchFacts(
        "armv6l", "armel", "linux/arm/v6", "arm", "arm1176",
        "arm-linux-musleabihf", "arm1176jzf_s", "bookworm",
    )  # fmt: skip
    ARMV7L = ArchFacts(
        "armv7l", "armhf", "linux/arm/v7", "arm", "cortex-a7",
        "arm-linux-musleabihf", "cortex_a7", "trixie",
    )  # fmt: skip
    ARM64 = ArchFacts(
        "aarch64", "arm64", "linux/arm64", "aarch64", "cortex-a72",
        "aarch64-linux-musl", "cortex_a53", "trixie",
    )  # fmt: skip
    AMD64 = ArchFacts(
        "x86_64", "amd64", "linux/amd64", "", "",
        "x86_64-linux-musl", "x86_64", "trixie",
    )  # fmt: skip

    @property
    def facts(self) -> ArchFacts:
        return self.value

    @property
    def label(self) -> str:
        """The name people use for it: ``armv6l``, ``armv7l``, ``arm64``, ``amd64``."""
        return self.name.lower()

    @classmethod
    def from_machine(cls, machine: str) -> Arch:
        """The architecture that ``uname -m`` (or a label) names; raises ``KeyError``."""
        for arch in cls:
            if machine in (arch.value.machine, arch.label):
                return arch
        raise KeyError(machine)

    @classmethod
    def parse_list(cls, text: str) -> list[Arch]:
        """``armv6l,amd64`` in the order given; all when empty; raises :class:`UsageError`."""
        try:
            return [cls.from_machine(word) for word in text.split(",")] if text else list(cls)
        except KeyError as unknown:
            known = ", ".join(arch.label for arch in cls)
            raise UsageError(f"unknown architecture {unknown}", hint=f"Known: {known}") from None

    @classmethod
    def from_debian(cls, name: str) -> Arch:
        """The architecture that Debian calls ``name`` (``armel``); raises ``KeyError``."""
        for arch in cls:
            if arch.value.debian == name:
                return arch
        raise KeyError(name)
