"""The Raspberry Pi machines: models, and what QEMU's imitations of them need beyond a command line.

Debian's kernels for these boards run unchanged. What is changed is the device tree, which on a real board
the firmware changes too; every change says what it is for.
"""

from __future__ import annotations

import re
from pathlib import Path

from toolkit.arch import Arch
from toolkit.boards.system import fdt, timers
from toolkit.boards.system.gdb import Gdb
from toolkit.boards.system.model import NETWORK, PLAIN_PAGES, Model
from toolkit.boards.system.qmp import Monitor

# Physical addresses of the BCM2835's system timer (BCM2835 ARM Peripherals, chapter 12), as the ARM sees them.
_COUNTER = 0x20003004
_COMPARE = 0x20003018  # of channel 3, the one that Linux uses
_MATCHED = 1 << 3  # channel 3's bit of the status register, before the counter

_DISPLAY = ("gpu", "hdmi", "hvs", "pixelvalve", "txp", "v3d", "vec")

_LATE = 20_000
"""Microseconds after which an alarm is not just being served."""

_SOON = 1000
"""Microseconds, the timer's ticks, until a restored machine is interrupted."""


def rewind_timer(monitor: Monitor, folder: Path) -> None:
    """Have the system timer interrupt a restored machine, which otherwise may wait for it forever.

    A snapshot has the timer's registers, but not that an alarm was set; writing the register sets it.
    An interrupt too many does no harm: Linux's handler looks at its clock and sets the next one.
    """
    stub = folder / "gdb"
    monitor.human(f"gdbserver unix:{stub},server=on,wait=off")
    try:
        with Gdb(stub) as registers:
            soon = (registers.read(_COUNTER) + _SOON) % (1 << 32)
            registers.write(_COMPARE, soon)
    finally:
        monitor.human("gdbserver none")


def wake(monitor: Monitor, folder: Path) -> None:
    """Have the timer interrupt a machine that waits for a time which has passed.

    Linux sets the alarm to at least 15 microseconds from the time that it has just read. When this machine
    is busy, QEMU may not run in between, and the alarm is for a time that comes again in 71 minutes.
    """
    words = re.findall(r"0x([0-9a-f]{8})\b", monitor.human(f"xp /7xw {_COUNTER - 4:#x}"))
    if len(words) != 7:
        return
    status, now, alarm = (int(words[index], 16) for index in (0, 1, 6))
    late = (now - alarm) % (1 << 32)
    if not status & _MATCHED and _LATE < late < 1 << 31:
        rewind_timer(monitor, folder)


def change_tree(source: Path, target: Path) -> None:
    """Write the device tree that a board up to the Pi 3 gets; the kernel's own is ``source``."""
    tree = fdt.parse(source.read_bytes())
    without_power_domains(tree)
    without_radio(tree)
    without_display(tree)
    with_card_on_sdhci(tree)
    target.write_bytes(fdt.dump(tree))


def change_tree_of_pi4(source: Path, target: Path) -> None:
    """The same for a Pi 4."""
    tree = fdt.parse(source.read_bytes())
    without_power_domains(tree)
    without_radio(tree)
    without_display(tree)
    without_display_of_pi4(tree)
    with_usb_host(tree)
    with_card_on_wifi_sdhci(tree)
    target.write_bytes(fdt.dump(tree))


def without_power_domains(tree: fdt.Tree) -> None:
    """Take the bridge (ASB) registers from the power manager, which QEMU does not have behind them.

    Linux's driver then is the watchdog that reboots the board, and leaves power domains alone.
    """
    manager = tree.compatible("brcm,bcm2835-pm-wdt")
    manager.set_cells("reg", *manager.cells("reg")[:2])
    manager.set_strings("reg-names", "pm")


def without_radio(tree: fdt.Tree) -> None:
    """Take Wi-Fi and Bluetooth away, which QEMU has not: the first serial port is the console again."""
    for compatible in ("arm,pl011", "brcm,bcm2835-sdhci"):
        for node in tree.all_compatible(compatible):
            node.children.clear()


def without_display(tree: fdt.Tree) -> None:
    """Take away what shows pictures, and the way to the firmware that does: drivers wait for it in vain."""
    for path, node in tree.walk():
        name = path.rpartition("/")[2].partition("@")[0]
        if name in _DISPLAY or "brcm,bcm2835-vchiq" in node.strings("compatible"):
            node.set_strings("status", "disabled")


def with_card_on_sdhci(tree: fdt.Tree) -> None:
    """Connect the card's slot to the SDHCI controller, as on a Compute Module.

    Boards use the other controller, SDHOST, because Wi-Fi has this one. In QEMU a card on SDHOST is gone
    after a snapshot is restored.
    """
    sdhost, sdhci = tree.compatible("brcm,bcm2835-sdhost"), tree.compatible("brcm,bcm2835-sdhci")
    sdhost.set_strings("status", "disabled")
    pins = tree.node("/soc/gpio@7e200000").children
    # The name's second half is written with another sign in newer kernels.
    slot = next(node for name, node in pins.items() if name.replace("_", "-") == "emmc-gpio48")
    sdhci.set_strings("status", "okay")
    sdhci.set_strings("pinctrl-names", "default")
    sdhci.set_cells("pinctrl-0", *slot.cells("phandle"))
    sdhci.set_cells("bus-width", 4)
    sdhci.properties["non-removable"] = b""
    sdhci.properties.pop("mmc-pwrseq", None)


def without_display_of_pi4(tree: fdt.Tree) -> None:
    """Take away the HDMI block's clocks, interrupts and buses: reading a register that QEMU lacks ends the kernel."""
    for compatible in ("brcm,l2-intc", "brcm,brcm2711-dvp", "brcm,bcm2711-hdmi-i2c"):
        for node in tree.all_compatible(compatible):
            node.set_strings("status", "disabled")


def with_card_on_wifi_sdhci(tree: fdt.Tree) -> None:
    """Look for the card of a Pi 4 at the controller that its Wi-Fi has (SDHCI): QEMU puts it there.

    The board's own controller of the card, EMMC2, is there in QEMU, and nothing is connected to it.
    """
    tree.compatible("brcm,bcm2711-emmc2").set_strings("status", "disabled")
    sdhci = tree.compatible("brcm,bcm2835-sdhci")
    sdhci.set_strings("status", "okay")
    sdhci.properties["non-removable"] = b""
    sdhci.properties.pop("mmc-pwrseq", None)


def with_usb_host(tree: fdt.Tree) -> None:
    """Let devices be plugged into the USB-C port of a Pi 4: its other ports are behind PCIe, which QEMU lacks."""
    port = tree.compatible("brcm,bcm2835-usb")
    port.set_strings("dr_mode", "host")
    for name in [name for name in port.properties if name.startswith("g-")]:
        del port.properties[name]


_NETWORK = f"usb-net,netdev={NETWORK},port=1"
_MODULES = ("sdhci_iproc", "crc32c_generic", "ext4")

# The first machine's driver of power domains is one that crashes where they are missing.
_NO_POWER = "initcall_blacklist=bcm2835_power_driver_init"

_FOUR_PROCESSORS = 1800
"""Seconds: a minute on an idle machine of two processors, ten on one that is ten times as busy as it can be."""

RASPI = (
    Model(
        label="armv6l",
        arch=Arch.ARMV6L,
        release="bookworm",
        program="qemu-system-arm",
        machine="raspi1ap",
        cpu="arm1176",
        kernel="linux-image-rpi",
        fixed=True,
        cpus=1,
        modules=_MODULES,
        drive="mmcblk0",
        partition="p",
        disk="",
        network=_NETWORK,
        late_network=True,
        usb_host=0x20980000,
        parameters=(_NO_POWER,),
        device_tree="bcm2835-rpi-a-plus.dtb",
        changed_tree=change_tree,
        after_restore=rewind_timer,
        tend=wake,
    ),
    Model(
        label="pi2",
        arch=Arch.ARMV7L,
        program="qemu-system-arm",
        machine="raspi2b",
        cpu="cortex-a7",
        kernel="linux-image-armmp",
        fixed=True,
        cpus=4,
        boot_seconds=_FOUR_PROCESSORS,
        memory=1024,
        modules=_MODULES,
        drive="mmcblk0",
        partition="p",
        disk="",
        network=_NETWORK,
        late_network=True,
        usb_host=0x3F980000,
        parameters=(_NO_POWER,),
        device_tree="bcm2836-rpi-2-b.dtb",
        changed_tree=change_tree,
        after_restore=timers.wake_arm,
    ),
    Model(
        label="pi3",
        arch=Arch.ARM64,
        program="qemu-system-aarch64",
        machine="raspi3b",
        cpu="cortex-a53",
        kernel="linux-image-arm64",
        fixed=True,
        cpus=4,
        boot_seconds=_FOUR_PROCESSORS,
        memory=1024,
        modules=_MODULES,
        drive="mmcblk0",
        partition="p",
        disk="",
        network=_NETWORK,
        late_network=True,
        usb_host=0x3F980000,
        parameters=(_NO_POWER, PLAIN_PAGES),
        device_tree="broadcom/bcm2837-rpi-3-b.dtb",
        changed_tree=change_tree,
        after_restore=timers.wake_arm64,
    ),
    Model(
        label="pi4",
        arch=Arch.ARM64,
        program="qemu-system-aarch64",
        machine="raspi4b",
        cpu="cortex-a72",
        kernel="linux-image-arm64",
        fixed=True,
        cpus=4,
        boot_seconds=_FOUR_PROCESSORS,
        memory=2048,
        modules=_MODULES,
        drive="mmcblk0",
        partition="p",
        disk="",
        network=_NETWORK,
        late_network=True,
        usb_host=0xFE980000,
        parameters=(_NO_POWER, PLAIN_PAGES),
        device_tree="broadcom/bcm2711-rpi-4-b.dtb",
        changed_tree=change_tree_of_pi4,
    ),
)
