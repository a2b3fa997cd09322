"""The initial RAM disk: busybox, the few modules that reach the root file system, and twenty lines of sh.

Debian's own comes from initramfs-tools, which would have to run on the board's processor.
"""

from __future__ import annotations

import gzip
import lzma
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from toolkit.errors import PinnaceError

_INIT = """\
#!/bin/busybox sh
# Mounts the root file system that the kernel command line names, and goes there.
export PATH=/bin
busybox mkdir -p /proc /sys /dev /root
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t devtmpfs devtmpfs /dev
for module in $(busybox cat /modules); do
    busybox insmod /lib/$module || echo "initrd: $module was not loaded"
done
root= mode=ro init=/sbin/init type=ext4
for word in $(busybox cat /proc/cmdline); do
    case $word in
        root=*) root=${word#root=} ;;
        rootfstype=*) type=${word#rootfstype=} ;;
        init=*) init=${word#init=} ;;
        ro|rw) mode=$word ;;
    esac
done
tries=0
until [ -b "$root" ]; do
    tries=$((tries + 1))
    [ $tries -gt 600 ] && echo "initrd: no root device '$root'" && busybox poweroff -f
    busybox usleep 50000
done
busybox mount -t "$type" -o "$mode" "$root" /root || { echo "initrd: cannot mount $root"; busybox poweroff -f; }
busybox mount --move /dev /root/dev
busybox umount /sys /proc
exec busybox switch_root /root "$init"
"""


def build(target: Path, busybox: Path, modules_folder: Path, wanted: Iterable[str]) -> None:
    """Write the RAM disk ``target``.

    ``modules_folder`` is ``lib/modules/<release>`` after depmod(8); the modules ``wanted`` come with
    all they need, in the order in which they must be loaded. What is built into the kernel is left out.
    """
    files: dict[str, tuple[int, bytes]] = {
        "bin": (stat.S_IFDIR | 0o755, b""),
        "lib": (stat.S_IFDIR | 0o755, b""),
        "bin/busybox": (stat.S_IFREG | 0o755, busybox.read_bytes()),
        "init": (stat.S_IFREG | 0o755, _INIT.encode()),
    }
    names = []
    for path in load_order(modules_folder, wanted):
        name = path.name.removesuffix(".xz")
        content = path.read_bytes()
        files[f"lib/{name}"] = (
            stat.S_IFREG | 0o644,
            lzma.decompress(content) if path.suffix == ".xz" else content,
        )
        names.append(name)
    files["modules"] = (stat.S_IFREG | 0o644, "\n".join([*names, ""]).encode())
    # Fast rather than small: it is read from the page cache, and unpacked by an emulated processor.
    with gzip.GzipFile(target, "wb", compresslevel=1, mtime=0) as stream:
        for part in _cpio(files):
            stream.write(part)


def load_order(folder: Path, wanted: Iterable[str]) -> list[Path]:
    """The module files for ``wanted``, each behind those it depends on (modules.dep(5))."""
    needs: dict[str, list[str]] = {}
    for line in (folder / "modules.dep").read_text().splitlines():
        path, _, others = line.partition(":")
        needs[path] = others.split()
    by_name = {_module_name(path): path for path in needs}
    builtin = {_module_name(line) for line in (folder / "modules.builtin").read_text().split()}
    order: list[str] = []
    for name in wanted:
        if name in builtin:
            continue
        if name not in by_name:
            raise PinnaceError(f"the kernel {folder.name} has no module {name}")
        path = by_name[name]
        # modules.dep lists all a module needs, nearest first.
        order += [each for each in [*reversed(needs[path]), path] if each not in order]
    return [folder / path for path in order]


def _module_name(path: str) -> str:
    return Path(path).name.split(".")[0].replace("-", "_")


def _cpio(files: dict[str, tuple[int, bytes]]) -> Iterator[bytes]:
    """The files as a cpio archive in the kernel's format (buffer-format.rst, "newc")."""
    entries = [*files.items(), ("TRAILER!!!", (0, b""))]
    for number, (name, (mode, content)) in enumerate(entries, 1):
        encoded = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
        header = b"070701" + b"".join(b"%08X" % value for value in fields)
        yield _padded(header + encoded)
        yield _padded(content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
