"""The timers of the four processors of a BCM2836 (Pi 2, Pi 3), which a restored machine may wait for in vain.

A processor's timer that ran out before a snapshot holds its line to the interrupt controller; QEMU keeps the timer and
not the controller's view of the line. Nothing asks the timer again, and the processor sleeps for ever. So each is told,
as by another one, that it is time for what its timer is for: Linux then looks at its clock and sets its timer anew.

Facts: BCM2836 ARM-local peripherals (QA7), "Core mailboxes"; the kernel's ``enum ipi_msg_type`` (arch/arm/kernel/smp.c,
arch/arm64/kernel/smp.c), whose numbers are the mailbox's bits (drivers/irqchip/irq-bcm2836.c).
"""

from __future__ import annotations

from pathlib import Path

from toolkit.boards.system.gdb import Gdb
from toolkit.boards.system.qmp import Monitor

_MAILBOX_SET = 0x40000080  # of the first processor; the next one's is 16 bytes further
_PROCESSORS = 4

_TIMER_ON_ARM = 1 << 1
_TIMER_ON_ARM64 = 1 << 4


def wake_arm(monitor: Monitor, folder: Path) -> None:
    """Have every processor under a 32-bit kernel look at its clock."""
    _wake(monitor, folder, _TIMER_ON_ARM)


def wake_arm64(monitor: Monitor, folder: Path) -> None:
    """The same under a 64-bit kernel."""
    _wake(monitor, folder, _TIMER_ON_ARM64)


def _wake(monitor: Monitor, folder: Path, message: int) -> None:
    stub = folder / "gdb"
    monitor.human(f"gdbserver unix:{stub},server=on,wait=off")
    try:
        with Gdb(stub) as registers:
            for number in range(_PROCESSORS):
                registers.write(_MAILBOX_SET + 16 * number, message)
    finally:
        monitor.human("gdbserver none")
