"""The USB network card of a Raspberry Pi machine, which QEMU can neither save nor take out just so.

A machine is kept without it, and it is plugged in again when the machine goes on. The board has to let go of it
first: QEMU's USB host (dwc2) keeps asking a card for data on each channel where it last had none, and ends when
the card is gone. So the board stops using the card, and then has so many short transfers with it that every
channel had one which went well.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.boards.machine import wait_until
from toolkit.boards.system import login
from toolkit.boards.system.launch import NETWORK_DEVICE, Run
from toolkit.boards.system.qmp import Monitor
from toolkit.errors import PinnaceError

if TYPE_CHECKING:
    from toolkit.boards.system.board import SystemBoard

_RELEASE_SECONDS = 60.0

_TRANSFERS = 24
"""Each is two or three transactions; the host has eight channels, and Linux uses them in turn."""

# Configuration 0 is none: the first time the driver goes. Said on the console, because the way on which it was
# asked is gone then.
_LET_GO = """\
sudo systemd-run --quiet --collect sh -c '
sleep 1
for card in /sys/bus/usb/devices/*-*/bConfigurationValue; do
    for _ in $(seq {transfers}); do echo 0 >$card; done
done
sync
echo {mark} >/dev/console'
"""


_AHB_CONFIGURATION = 0x08
"""Offset of DWC2's register GAHBCFG, whose lowest bit lets the host interrupt the processor."""


def host_listens(monitor: Monitor, registers: int) -> bool:
    """Whether the system's driver of the USB host at the physical address ``registers`` takes interrupts.

    A card that was there before is not always found: QEMU forgets that it was plugged in when the port is reset, and
    on a busy machine one processor may reset the port before another one has taken the interrupt for the card.
    """
    said = monitor.human(f"xp /1xw {registers + _AHB_CONFIGURATION:#x}")
    found = re.search(r": 0x([0-9a-f]{8})\b", said)
    return found is not None and bool(int(found[1], 16) & 1)


def plug_in(monitor: Monitor, device: str) -> None:
    """Plug in a network card that is described as after ``-device``."""
    driver, *options = device.split(",")
    arguments = dict(option.split("=", 1) for option in options)
    monitor.execute("device_add", {"driver": driver, "id": NETWORK_DEVICE, **arguments})


def put_back(run: Run) -> None:
    """Plug the card of a running board in again."""
    with Monitor(run.monitor) as monitor:
        plug_in(monitor, run.model.network)


def take_out(board: SystemBoard, run: Run) -> None:
    """Take the card out of a running board; connections over it are cut.

    Raises :class:`PinnaceError` when the board does not let go of it in time.
    """
    mark = f"network-{secrets.token_hex(8)}"
    begin = board.console.stat().st_size
    login.command(board, _LET_GO.format(mark=mark, transfers=_TRANSFERS), 30)

    def let_go() -> bool:
        return mark.encode() in _said(board.console, begin)

    wait_until(lambda: let_go() or not run.alive, _RELEASE_SECONDS)
    if not let_go():
        raise PinnaceError(
            f"{board.name} did not let go of its network card within {_RELEASE_SECONDS:.0f} s",
            hint=login.last_words(board.console),
        )
    with Monitor(run.monitor) as monitor:
        monitor.execute("device_del", {"id": NETWORK_DEVICE})
        monitor.wait_for("DEVICE_DELETED", _RELEASE_SECONDS)


def _said(log: Path, begin: int) -> bytes:
    """What the console's log has from the byte ``begin`` on."""
    with log.open("rb") as stream:
        stream.seek(begin)
        return stream.read()
