"""What maintainer scripts made in one root, carried to the root of another architecture.

``take_over(native, foreign)`` copies every file of ``native`` that no package holds, and gives files
that both have the owner and mode they have in ``native``: that is what maintainer scripts changed.
:class:`Database` enters unpacked packages into dpkg's database as installed and configured, so that
``dpkg`` and ``apt`` on the board see a normal system (formats: deb-src-control(5), dpkg's
``doc/internals``).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from pathlib import Path

# What is not carried over: dpkg's own records of the native packages, caches, and what each
# architecture makes for itself.
_OWN = (
    "var/lib/dpkg/info",
    "var/lib/dpkg/status",
    "var/lib/dpkg/status-old",
    "var/lib/dpkg/arch",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/cache/apt",
    "var/cache/ldconfig",
    "var/lib/apt",
    "etc/ld.so.cache",
    "lib64",
    "proc",
    "sys",
    "dev",
    "run",
)
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


def merged(name: str) -> str:
    """A path of a package with the directories that merged-usr moved: ``bin/sh`` is ``usr/bin/sh``."""
    first, slash, _ = name.partition("/")
    return f"usr/{name}" if slash and first in _MERGED else name


def packaged_names(root: Path) -> set[str]:
    """Every path, relative and merged, that a package in ``root`` holds."""
    found: set[str] = set()
    for listing in (root / "var/lib/dpkg/info").glob("*.list"):
        found.update(merged(line.strip("/")) for line in listing.read_text().splitlines())
    return found


def take_over(native: Path, foreign: Path) -> None:
    """Carry what maintainer scripts made in ``native`` over to ``foreign``."""
    packaged = packaged_names(native)
    for folder, names, files in os.walk(native):
        relative = os.path.relpath(folder, native)
        prefix = "" if relative == "." else f"{relative}/"
        names[:] = sorted(name for name in names if f"{prefix}{name}" not in _OWN)
        for name in [*names, *sorted(files)]:
            path = f"{prefix}{name}"
            if path in _OWN:
                continue
            if path not in packaged:
                _copy(native / path, foreign / path)
            elif os.path.lexists(foreign / path):
                _same_owner_and_mode(native / path, foreign / path)


def _copy(source: Path, target: Path) -> None:
    found = source.lstat()
    if stat.S_ISDIR(found.st_mode):
        target.mkdir(exist_ok=True)
    elif stat.S_ISLNK(found.st_mode):
        if os.path.lexists(target):
            target.unlink()
        target.symlink_to(os.readlink(source))
    elif stat.S_ISREG(found.st_mode) and (
        not source.name.endswith(".pyc") or _is_current(source, target)
    ):
        shutil.copy2(source, target)  # with times and extended attributes
    else:
        return
    _same_owner_and_mode(source, target)


def _same_owner_and_mode(source: Path, target: Path) -> None:
    wanted, found = source.lstat(), target.lstat()
    if (wanted.st_uid, wanted.st_gid) != (found.st_uid, found.st_gid):
        os.lchown(target, wanted.st_uid, wanted.st_gid)
        found = target.lstat()  # a change of owner drops setuid bits
    if stat.S_IMODE(wanted.st_mode) != stat.S_IMODE(found.st_mode) and not target.is_symlink():
        target.chmod(stat.S_IMODE(wanted.st_mode))


def _is_current(compiled: Path, target: Path) -> bool:
    """Whether the compiled module fits the source file in the other root (PEP 552's header)."""
    source = target.parent.parent / f"{target.name.split('.')[0]}.py"
    try:
        found = source.stat()
    except FileNotFoundError:
        return False
    with compiled.open("rb") as stream:
        header = stream.read(16)
    flags, time, size = (int.from_bytes(header[at : at + 4], "little") for at in (4, 8, 12))
    return flags == 0 and time == int(found.st_mtime) & 0xFFFFFFFF and size == found.st_size


class Database:
    """dpkg's database of a root whose packages were unpacked by hand."""

    def __init__(self, root: Path, arch: str) -> None:
        self._root = root
        self._home = root / "var/lib/dpkg"
        self._arch = arch
        self._status: list[str] = []
        for folder in ("info", "updates", "triggers", "alternatives", "parts"):
            (self._home / folder).mkdir(parents=True, exist_ok=True)
        (self._home / "info/format").write_text("1\n")

    def add(self, control: Path, listing: str) -> None:
        """Enter the package with the control directory ``control``; ``listing`` is ``tar -t``'s."""
        text = (control / "control").read_text().strip()
        fields = dict(
            line.split(": ", 1) for line in text.splitlines() if ": " in line and line[0] != " "
        )
        name = fields["Package"]
        stem = f"{name}:{self._arch}" if fields.get("Multi-Arch") == "same" else name
        for file in control.iterdir():
            if file.name != "control":
                shutil.copy(file, self._home / "info" / f"{stem}.{file.name}")
        paths = [line.removeprefix(".").rstrip("/") or "/." for line in listing.splitlines()]
        (self._home / "info" / f"{stem}.list").write_text("".join(f"{path}\n" for path in paths))
        first, _, rest = text.partition("\n")
        self._status.append(
            f"{first}\nStatus: install ok installed\n{rest}\n{self._conffiles(control)}"
        )

    def _conffiles(self, control: Path) -> str:
        try:
            names = (control / "conffiles").read_text().split("\n")
        except FileNotFoundError:
            return ""
        lines = []
        for name in names:
            path = self._root / name.strip("/")
            if name.startswith("/") and path.is_file():
                md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
                lines.append(f" {name} {md5}")
        return "".join(f"{line}\n" for line in ["Conffiles:", *lines]) if lines else ""

    def write(self) -> None:
        """Write the status file, and the architecture that apt and dpkg take for native."""
        (self._home / "status").write_text("\n".join(self._status))
        (self._home / "arch").write_text(f"{self._arch}\n")
