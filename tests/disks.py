"""Real file systems in files, for tests with root: mounted over a loop device, and gone afterwards."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pinnace.linux import mount
from pinnace.linux.kernel import CLONE_FS, KERNEL
from toolkit import debian_program

_SUITE = "trixie"
_NEW_MOUNTS = 0x00020000  # CLONE_NEWNS, linux/sched.h
_MAKERS = {
    "btrfs": ("btrfs-progs", "usr/sbin/mkfs.btrfs", ("--quiet", "--mixed")),
    "xfs": ("xfsprogs", "usr/sbin/mkfs.xfs", ("-q", "-m", "reflink=1")),
    "ext4": ("e2fsprogs", "usr/sbin/mkfs.ext4", ("-q", "-F", "-m", "0")),
}
_BYTES = {"btrfs": 128 << 20, "xfs": 320 << 20, "ext4": 64 << 20}
"""Of the files, which are sparse; XFS refuses to be smaller than 300 MiB."""


@contextmanager
def own_mounts() -> Iterator[None]:
    """A mount namespace of this thread's own inside: no copy of a mount in others' keeps its disk in use.

    What other processes and threads that exist already see stays as it is.
    """
    before = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    folder = os.getcwd()
    KERNEL.unshare(_NEW_MOUNTS)
    try:
        mount.mount("none", "/", "", mount.MS_REC | mount.MS_PRIVATE)
        yield
    finally:
        # A thread that began inside, and has not ended, would else be taken along: EINVAL.
        KERNEL.unshare(CLONE_FS)
        KERNEL.setns(before, _NEW_MOUNTS)
        os.close(before)
        os.chdir(folder)


@contextmanager
def file_system(
    kind: str, folder: Path, options: str = "", *, features: tuple[str, ...] = ()
) -> Iterator[Path]:
    """An empty file system of that kind at ``folder/kind``; the test is skipped where the kernel has none."""
    need_kernel(kind)
    package, maker, words = _MAKERS[kind]
    image, target = folder / f"{kind}.img", folder / kind
    with image.open("wb") as file:
        file.truncate(_BYTES[kind])
    command = [*program(package, maker), *words, *features, str(image)]
    subprocess.run(command, check=True, capture_output=True)
    device = losetup("--find", "--show", str(image))
    try:
        target.mkdir()
        mount.mount(device, str(target), kind, 0, options)
        try:
            yield target
        finally:
            mount.unmount_all(str(target))
    finally:
        losetup("--detach", device)
        image.unlink()


def program(package: str, path: str) -> tuple[str, ...]:
    """The words that start a program of a Debian package."""
    return debian_program.command(_SUITE, package, path)


def need_kernel(kind: str) -> None:
    known = Path("/proc/filesystems").read_text().split()
    if kind not in known:
        pytest.skip(f"this kernel has no {kind}")


def losetup(*words: str) -> str:
    done = subprocess.run(["losetup", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
