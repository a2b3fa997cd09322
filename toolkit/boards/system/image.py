"""The disk image of a board: a boot partition with ``cmdline.txt`` and a root partition, as on an SD card.

An image and what it boots with are one entry of the cache, made from Debian packages alone::

    disk.img       MBR; partition 1 FAT (/boot/firmware), partition 2 ext4
    kernel initrd  and, where the machine has one, device-tree
    id_ed25519     the key that the board's user pi accepts, and ssh_host_key, the board's own
    booted-*/      the machine right after it booted, to be restored (toolkit.boards.system.snapshot)
"""

from __future__ import annotations

import functools
import inspect
import os
import secrets
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit import console, debian
from toolkit.boards import identity, network, recipe, source
from toolkit.boards.root import MINBASE, PACKAGES
from toolkit.boards.system import accounts, configure, initrd, rootfs, tools
from toolkit.boards.system.choice import remembered
from toolkit.boards.system.model import Model
from toolkit.debian import Archive, Deb, kept_tree
from toolkit.errors import PinnaceError
from toolkit.paths import cache_dir
from toolkit.process import last_line, run

MIB = 1 << 20
BOOT_OFFSET, BOOT_SIZE = 1 * MIB, 63 * MIB
ROOT_OFFSET = BOOT_OFFSET + BOOT_SIZE
DISK_SIZE = 4096 * MIB
"""An SD card's size must be a power of two for QEMU; the file is sparse."""

_MORE_PACKAGES = ("e2fsprogs", "iptables", "udev")
"""What a machine of its own needs beyond a board on this machine's kernel."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image in the cache. Its files are shared by all boards of the kind and never written to."""

    folder: Path

    @property
    def disk(self) -> Path:
        return self.folder / "disk.img"

    @property
    def kernel(self) -> Path:
        return self.folder / "kernel"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd"

    @property
    def device_tree(self) -> Path:
        return self.folder / "device-tree"

    @property
    def login_key(self) -> Path:
        return self.folder / "id_ed25519"

    @property
    def host_key(self) -> Path:
        return self.folder / "ssh_host_key"


def build(model: Model) -> Image:
    """The image of ``model``, from the cache or made now: half a minute, and the downloads."""
    packages = (*MINBASE, *PACKAGES, *_MORE_PACKAGES, model.kernel)
    inputs = (
        model.release,
        model.command_line,
        *model.modules,
        *packages,
        _recipe(),
        _edits(model),
    )
    return Image(remembered(model.label, inputs, lambda: _built(model, packages, inputs)))


def _built(model: Model, packages: Sequence[str], inputs: Sequence[str]) -> Path:
    archive = Archive(model.release, model.arch.facts.debian)
    debs = archive.resolve(packages, dependencies=True)
    files = (f"{deb.filename} {deb.sha256}" for deb in debs)
    entry = cache_dir("system") / f"{model.label}-{debian.content_key(*inputs, *files)}"
    return kept_tree(entry, lambda folder: _fill(folder, model, archive, debs))


@functools.cache
def _recipe() -> str:
    """A digest of the modules that decide what an image holds."""
    parts = (accounts, configure, initrd, rootfs, recipe, sys.modules[__name__])
    return debian.content_key(*(source.of(part) for part in parts))


def _edits(model: Model) -> str:
    """What changes the device tree: the module that the model's function is in."""
    module = inspect.getmodule(model.changed_tree)
    return debian.content_key(source.of(module)) if module else ""


def _fill(folder: Path, model: Model, archive: Archive, debs: list[Deb]) -> None:
    archive.fetch(debs)
    tools.folder()
    identity.make_key(folder / "id_ed25519", "pinnace-boards")
    identity.make_key(folder / "ssh_host_key", f"root@sys-{model.label}")
    with (
        tempfile.TemporaryDirectory(dir=folder, prefix="root-") as scratch,
        console.step(f"build the image of sys-{model.label}") as step,
    ):
        tree = rootfs.Tree(Path(scratch, "root"))
        tree.path.mkdir(mode=0o755)
        step.say("unpacking")
        rootfs.unpack(tree, archive, debs)
        step.say("configuring")
        configure.configure(tree, model)
        configure.identify(
            tree,
            name=f"sys-{model.label}",
            machine_id=secrets.token_hex(16),
            host_key=folder / "ssh_host_key",
            login_key=identity.public_key(folder / "id_ed25519"),
            registry=network.REGISTRY,
        )
        step.say("kernel and modules")
        _take_kernel(folder, tree, model, archive)
        step.say("writing the disk")
        write_disk(folder / "disk.img", tree, model)
        step.detail = f"Debian {model.release} {archive.arch}, {model.kernel}"


def _take_kernel(folder: Path, tree: rootfs.Tree, model: Model, archive: Archive) -> None:
    releases = sorted(path.name for path in (tree.path / "usr/lib/modules").iterdir())
    if len(releases) != 1:
        raise PinnaceError(f"{model.kernel} should bring one kernel, and brought {releases}")
    release = releases[0]
    run([*tools.command("usr/sbin/depmod"), "-b", tree.path, release], "depmod")
    kernel = next((tree.path / "boot").glob("vmlinu*"))
    kernel.rename(folder / "kernel")
    if model.device_tree:
        source = next((tree.path / "usr/lib").glob(f"linux-image-*/{model.device_tree}"))
        assert model.changed_tree is not None
        model.changed_tree(source, folder / "device-tree")
    box = archive.unpack(["busybox-static"])
    busybox = next(path for path in (box / "usr/bin/busybox", box / "bin/busybox") if path.exists())
    modules = tree.path / "usr/lib/modules" / release
    initrd.build(folder / "initrd", busybox, modules, model.modules)


def write_disk(target: Path, tree: rootfs.Tree, model: Model) -> None:
    """Write the partitioned disk; no mount is made."""
    with target.open("wb") as disk:
        disk.truncate(DISK_SIZE)
        disk.write(_partition_table())
    _write_boot(target, model.command_line)
    _write_root(target, tree)


def _partition_table() -> bytes:
    """A master boot record with a FAT and a Linux partition (little-endian, in sectors of 512 bytes)."""
    entries = b""
    for kind, offset, size in ((0x0C, BOOT_OFFSET, BOOT_SIZE), (0x83, ROOT_OFFSET, DISK_SIZE - ROOT_OFFSET)):  # fmt: skip
        entries += struct.pack("<B3sB3sII", 0, b"\xfe\xff\xff", kind, b"\xfe\xff\xff", offset // 512, size // 512)  # fmt: skip
    return secrets.token_bytes(4).rjust(444, b"\0") + b"\0\0" + entries.ljust(64, b"\0") + b"\x55\xaa"  # fmt: skip


def _write_boot(disk: Path, command_line: str) -> None:
    where = ["-i", f"{disk}@@{BOOT_OFFSET}"]
    sectors = str(BOOT_SIZE // 512)
    words = [*tools.command("usr/bin/mformat"), *where, "-T", sectors, "-h", "64", "-s", "32", "-v", "bootfs"]  # fmt: skip
    run([*words, "::"], "making the boot partition")
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as scratch:
        scratch.write(f"{command_line}\n")
        scratch.flush()
        copy = [*tools.command("usr/bin/mcopy"), *where, scratch.name, "::cmdline.txt"]
        run(copy, "writing cmdline.txt")


def _write_root(disk: Path, tree: rootfs.Tree) -> None:
    options = f"offset={ROOT_OFFSET},lazy_itable_init=0,lazy_journal_init=0,assume_storage_prezeroed=1,nodiscard,root_owner=0:0"  # fmt: skip
    blocks = str((DISK_SIZE - ROOT_OFFSET) // 4096)
    words = [*tools.command("usr/sbin/mke2fs"), "-q", "-F", "-t", "ext4", "-b", "4096", "-L", "rootfs"]  # fmt: skip
    command = [*words, "-E", options, "-d", "-", str(disk), blocks]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        try:
            tree.write_tar(process.stdin)
            process.stdin.close()
        except BrokenPipeError:
            pass  # what it says is why
        problem = process.stderr.read().decode(errors="replace")
    if process.returncode:
        raise PinnaceError(f"mke2fs failed: {last_line(problem)}")
    assert os.path.getsize(disk) == DISK_SIZE
