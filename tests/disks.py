"""Real file systems in files, for tests with root: mounted over a loop device, and gone afterwards."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pinnace.linux import mount
from toolkit import debian_program

_SUITE = "trixie"
_MAKERS = {
    "btrfs": ("btrfs-progs", "usr/sbin/mkfs.btrfs", ("--quiet", "--mixed")),
    "xfs": ("xfsprogs", "usr/sbin/mkfs.xfs", ("-q", "-m", "reflink=1")),
    "ext4": ("e2fsprogs", "usr/sbin/mkfs.ext4", ("-q", "-F")),
}
_BYTES = {"btrfs": 128 << 20, "xfs": 320 << 20, "ext4": 64 << 20}
"""Of the files, which are sparse; XFS refuses to be smaller than 300 MiB."""


@contextmanager
def file_system(
    kind: str, folder: Path, options: str = "", *, features: tuple[str, ...] = ()
) -> Iterator[Path]:
    """An empty file system of that kind at ``folder/kind``; the test is skipped where the kernel has none."""
    need_kernel(kind)
    package, program, words = _MAKERS[kind]
    image, target = folder / f"{kind}.img", folder / kind
    with image.open("wb") as file:
        file.truncate(_BYTES[kind])
    command = [*debian_program.command(_SUITE, package, program), *words, *features, str(image)]
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


def need_kernel(kind: str) -> None:
    known = Path("/proc/filesystems").read_text().split()
    if kind not in known:
        pytest.skip(f"this kernel has no {kind}")


def losetup(*words: str) -> str:
    done = subprocess.run(["losetup", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
