"""Debian packages as file trees, read without dpkg and without root.

A ``.deb`` is an ``ar`` archive of ``control.tar`` and ``data.tar`` (deb(5)). Read this way, owners and
modes come out right for an ordinary user on any machine, and nothing of a package is run.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from toolkit.errors import PinnaceError
from toolkit.tree import Tree

_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""The directories that are links into /usr on every current Debian (usrmerge)."""

_LEFT_OUT = (
    "usr/share/man/", "usr/share/info/", "usr/share/locale/", "usr/share/lintian/",
    "usr/share/bug/", "usr/share/bash-completion/", "usr/share/zsh/", "usr/share/doc-base/",
)  # fmt: skip


def unpack(packages: Iterable[Path]) -> Tree:
    """The files of packages laid over each other on a merged-/usr root.

    Manual pages, translations and documentation (copyright files stay) are left out. The tree's own
    time is that of its newest file: a fixed time that moves with the packages.
    """
    tree = Tree()
    for package in packages:
        for info, data in _members(package):
            path = _merged(info.name)
            if not path or path.startswith(_LEFT_OUT) or _is_documentation(path):
                continue
            if info.isdir() and path in tree:
                continue
            info.name = path
            if info.islnk():
                info.linkname = _merged(info.linkname)
            tree.mtime = max(tree.mtime, int(info.mtime))
            tree.add(info, data)
    return tree


def link_merged_directories(tree: Tree) -> None:
    """``/bin -> usr/bin`` and its like, for those that the tree has files in."""
    for name in _MERGED:
        if f"usr/{name}" in tree:
            tree.symlink(name, f"usr/{name}")


def _members(package: Path) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(_part(package, "data.tar")), mode="r:*") as archive:
        for info in archive:
            file = archive.extractfile(info) if info.isreg() else None
            yield info, file.read() if file else b""


def control(package: Path) -> dict[str, str]:
    """The fields of a package's control file (deb-control(5)) that stand on one line."""
    text = control_text(package)
    rows = [line.partition(":") for line in text.splitlines() if not line.startswith((" ", "\t"))]
    return {name: value.strip() for name, _, value in rows}


def control_text(package: Path) -> str:
    """A package's control file."""
    with tarfile.open(fileobj=io.BytesIO(_part(package, "control.tar")), mode="r:*") as archive:
        file = next((archive.extractfile(info) for info in archive if info.name.endswith("control")), None)  # fmt: skip
        return file.read().decode() if file else ""


def _part(package: Path, wanted: str) -> bytes:
    """The member ``wanted`` (``data.tar``, whatever it ends in) of the ar archive, still compressed."""
    content = package.read_bytes()
    at = 8
    if content[:at] != b"!<arch>\n":
        raise PinnaceError(f"{package} is not a Debian package")
    while at + 60 <= len(content):
        name = content[at : at + 16].decode("ascii").strip().rstrip("/")
        size = int(content[at + 48 : at + 58])
        if name.startswith(wanted):
            return content[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
    raise PinnaceError(f"{package} has no {wanted}")


def _merged(name: str) -> str:
    path = name.removeprefix("./").strip("/")
    return f"usr/{path}" if path.partition("/")[0] in _MERGED else path


def _is_documentation(path: str) -> bool:
    return path.startswith("usr/share/doc/") and not path.endswith("/copyright")
