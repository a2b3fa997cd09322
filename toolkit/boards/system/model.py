"""The machines that a full-system board can be: one :class:`Model` each, told by what is in its name.

A model is data. What a machine needs beyond it (a changed device tree, a network card that comes late)
is in functions that its model names, so that the rest of the package knows no machine by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.arch import Arch

if TYPE_CHECKING:
    from toolkit.boards.system.qmp import Monitor

DISK = "disk"
"""The name of the block device that ``Model.disk`` refers to."""

NETWORK = "network"
"""The name of the user network that ``Model.network`` refers to."""


@dataclass(frozen=True, slots=True)
class Model:
    """One machine, as QEMU and Debian have it.

    Attributes:
        label: what stands in a board's name behind ``sys-``.
        arch: the processor's architecture.
        release: the Debian release of root and kernel.
        program: QEMU's program, ``qemu-system-aarch64``.
        machine, cpu: QEMU's names; a machine with a fixed processor has it in ``cpu`` for people only.
        fixed: whether the machine has its own processor, number of CPUs and memory: no options then.
        cpus, memory: number of CPUs, and MiB.
        kernel: the Debian package of the kernel.
        modules: what the initial RAM disk loads so that the root file system can be mounted.
        console: the kernel's name of the first serial port.
        drive: the kernel's name of the disk; ``partition`` stands before a partition's number.
        disk, network: the words after ``-device`` for the two; an empty ``disk`` is a card in the slot.
        late_network: whether the network card cannot be in a snapshot: it is plugged in after a boot or
            restore, and taken out before the machine is kept.
        usb_host: where the registers of the USB host (DWC2) are that a late network card is plugged into.
        boot_seconds: how long a boot may take before it counts as one that hangs; a loaded machine is slow.
        parameters: kernel parameters in the first ``cmdline.txt``, besides root and console.
        device_tree: the name of the device tree in the kernel's package; empty where QEMU makes one.
        changed_tree: makes from that device tree the one which the machine is given.
        after_restore: what to do to a restored machine before it goes on; called with its monitor and a
            directory for files that last as long as it runs.
        tend: what the running machine needs every second, called as the one before.
    """

    label: str
    arch: Arch
    program: str
    machine: str
    cpu: str
    kernel: str
    release: str = "trixie"
    fixed: bool = False
    cpus: int = 2
    memory: int = 512
    modules: tuple[str, ...] = ("virtio_mmio", "virtio_blk", "virtio_net", "crc32c_generic", "ext4")
    console: str = "ttyAMA0"
    drive: str = "vda"
    partition: str = ""
    disk: str = f"virtio-blk-device,drive={DISK}"
    network: str = f"virtio-net-device,netdev={NETWORK}"
    late_network: bool = False
    usb_host: int = 0
    boot_seconds: int = 600
    parameters: tuple[str, ...] = ()
    device_tree: str = ""
    changed_tree: Callable[[Path, Path], None] | None = None
    after_restore: Callable[[Monitor, Path], None] | None = None
    tend: Callable[[Monitor, Path], None] | None = None

    @property
    def root_device(self) -> str:
        """The root file system's device node: the second partition."""
        return f"/dev/{self.drive}{self.partition}2"

    @property
    def boot_device(self) -> str:
        """The boot partition's device node: the first partition."""
        return f"/dev/{self.drive}{self.partition}1"

    @property
    def command_line(self) -> str:
        """The kernel command line that a new board's boot partition has."""
        words = [f"console={self.console},115200", f"root={self.root_device}", "rootfstype=ext4"]
        return " ".join([*words, "fsck.repair=yes", "net.ifnames=0", *self.parameters])


PLAIN_PAGES = "kpti=off"
"""For arm64: these processors keep the kernel's pages to themselves (they are not open to Meltdown).

Linux takes its pages out of every program's tables all the same when it has put itself at a random address,
and then each system call costs QEMU what it knows of the program's addresses.
"""

HIGH_MEMORY = "vmalloc=640M"
"""For 32-bit ARM: of 512 MB, the kernel keeps 144 out of its own map of memory.

When a seccomp filter goes, as at each login, Linux drops the address translations of all that lies between the
filter's page in that map and the filter's other address, page by page (``vm_reset_perms``, mm/vmalloc.c). arm64 has
a limit to that, arm has none: 120,000 instructions, for each of which QEMU stops all processors, half a second. A
page outside of the map has one address, and one instruction does. Pages of filters come from there first.
"""

_VIRT = (
    Model(
        label="armv7l",
        arch=Arch.ARMV7L,
        program="qemu-system-arm",
        machine="virt,gic-version=2",
        cpu="cortex-a15",
        kernel="linux-image-armmp",
        parameters=(HIGH_MEMORY,),
    ),
    Model(
        label="arm64",
        arch=Arch.ARM64,
        program="qemu-system-aarch64",
        machine="virt",
        cpu="cortex-a53",
        kernel="linux-image-arm64",
        parameters=(PLAIN_PAGES,),
    ),
    Model(
        label="arm64-16k",
        arch=Arch.ARM64,
        program="qemu-system-aarch64",
        machine="virt",
        cpu="cortex-a76",
        kernel="linux-image-arm64-16k",
        parameters=(PLAIN_PAGES,),
    ),
)


def models() -> dict[str, Model]:
    """Every machine by its label, lightest first."""
    # Late, because the others are made of what is above.
    from toolkit.boards.system.raspi import RASPI

    return {model.label: model for model in (*_VIRT, *RASPI)}
