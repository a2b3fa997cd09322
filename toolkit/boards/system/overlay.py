"""Disk files of boards: copy-on-write layers over an image, and the boot partition as seen through them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from toolkit.boards.system import fat, image, tools
from toolkit.process import run

_ROOM = 64 << 20
"""What qcow2 needs beyond the disk's own size; its layer is served as a device of a fixed size."""

_LONGEST = 4096


def create(layer: Path, backing: Path, kind: str) -> None:
    """Make an empty writable layer over ``backing``, which is ``raw`` or ``qcow2`` and stays as it is."""
    words = [*tools.command("usr/bin/qemu-img"), "create", "-q", "-f", "qcow2"]
    run([*words, "-b", backing, "-F", kind, layer], f"making the disk {layer.name}")
    os.truncate(layer, image.DISK_SIZE + _ROOM)


def freeze(layer: Path) -> None:
    """Make a layer one that others stand on: it is not to be written to any more."""
    layer.chmod(0o444)


def command_line(layer: Path) -> str:
    """The kernel command line in ``cmdline.txt`` of the boot partition; nobody may be writing to the disk.

    Raises :class:`~toolkit.errors.PinnaceError` where a real board would not boot.
    """
    with tempfile.TemporaryDirectory() as scratch:
        partition = Path(scratch, "boot")
        blocks = ["bs=1M", f"skip={image.BOOT_OFFSET >> 20}", f"count={image.BOOT_SIZE >> 20}"]
        words = [*tools.command("usr/bin/qemu-img"), "dd", "-f", "qcow2", "-O", "raw", *blocks]
        run([*words, f"if={layer}", f"of={partition}"], "reading the boot partition")
        with partition.open("rb") as stream:
            text = fat.read_file(stream, "cmdline.txt").decode("ascii", "replace")
    # The firmware takes the first line; a NUL would end it for the kernel.
    return text.partition("\n")[0].replace("\0", "").strip()[:_LONGEST]
