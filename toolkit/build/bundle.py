"""The bundle: everything of ours that a board gets, as one reproducible archive.

    bin/        ctr, runc, skopeo, containerd-shim-pinnace-v2, pinnaced, containerd, pinnace-keeper
    lib/        the runtime package, its pure-Python dependencies, byte code for the board's Python, that of a
                cold runc in one file besides
    libexec/    native helpers (doze, init, launch, pause) and the script behind the commands
    share/      the pause image, as an OCI image layout (tar); shell completion
    manifest.json

Its id is a digest over the names, modes and contents of all files, so equal bundles have equal ids
wherever they were built, and a board that has a release of that id needs nothing.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit import oci
from toolkit.arch import Arch
from toolkit.build import bytecode, dependencies, native, pause, together
from toolkit.build.commands import add_commands
from toolkit.build.version import runtime_version
from toolkit.errors import PinnaceError, UsageError
from toolkit.paths import RUNTIME, cache_dir
from toolkit.tree import Tree, compress, extract

MANIFEST = "manifest.json"
_LEFT_OUT = re.compile(r"(^|/)(__pycache__|\.[^/]*)(/|$)|~$|\.pyc$")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was built.

    Attributes:
        id: names the release directory on a board; letters, digits, dots and dashes.
        path: the archive, tar compressed with gzip, its members relative to the release directory.
        sha256: of the archive, in hexadecimal.
        size, unpacked: bytes of the archive and of the files in it.
    """

    id: str
    path: Path
    arch: Arch
    python: str
    sha256: str
    size: int
    unpacked: int


def build(arch: Arch, python: str) -> Bundle:
    """Build the bundle for ``arch`` and a board's Python (``3.11``); cached by its contents.

    Raises :class:`UsageError` for a Python that no board has, :class:`PinnaceError` when a part cannot
    be made.
    """
    if python not in bytecode.RELEASES:
        known = ", ".join(bytecode.RELEASES)
        raise UsageError(f"no bundle for Python {python}", hint=f"Known: {known}")
    tree = contents(arch, python)
    manifest = describe(tree, arch, python)
    tree.file(MANIFEST, oci.to_json(manifest))
    path = cache_dir("bundles") / f"{manifest['id']}.tar.gz"
    if not _holds(path, tree):
        _write(path, compress(tree.tar(), level=9))
    data = path.read_bytes()
    unpacked = sum(entry["size"] for entry in manifest["files"].values())
    digest = hashlib.sha256(data).hexdigest()
    return Bundle(manifest["id"], path, arch, python, digest, len(data), unpacked)


def unpack_here(place: Path) -> Path:
    """The bundle for this machine, unpacked in the new directory ``place`` as a board has it."""
    asked = ["/usr/bin/python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    python = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    # Byte code for another Python is not used, and the sources are: slower, but it runs.
    known = python if python in bytecode.RELEASES else "3.13"
    built = build(Arch.from_machine(os.uname().machine), known)
    with tarfile.open(built.path) as archive:
        extract(archive, place, "tar")
    return place


def contents(arch: Arch, python: str) -> Tree:
    """The files of the bundle, all but its manifest."""
    tree = Tree()
    for path, data in contents_of_runtime().items():
        tree.file(path, data)
    dependencies.add_to(tree, "lib")
    byte_code = bytecode.compiled(tree, python)
    for path, code in byte_code.items():
        tree.file(path, code)
    if byte_code:
        tree.file(together.PLACE, together.joined(byte_code))
    for program in native.PROGRAMS:
        helper = native.build(program, arch, runtime_version())
        tree.file(f"libexec/{program}", helper.read_bytes(), 0o755)
    tree.file("share/pause.tar", pause.layout())
    add_commands(tree)
    return tree


def describe(tree: Tree, arch: Arch, python: str) -> dict[str, Any]:
    """The manifest: what this bundle is for, the versions in it, and every file's digest."""
    files = {
        path: {
            "mode": f"{tree.mode(path):04o}",
            "sha256": hashlib.sha256(tree.read(path)).hexdigest(),
            "size": len(tree.read(path)),
        }
        for path in tree.files()
    }
    links = {path: tree.target(path) for path in tree.symlinks()}
    facts = {
        "arch": arch.label,
        "python": python,
        "versions": {"pinnace": runtime_version(), **dependencies.versions()},
        "files": files,
        "links": links,
    }
    digest = hashlib.sha256(oci.to_json(facts)).hexdigest()
    return {"id": f"{runtime_version()}-{arch.label}-py{python}-{digest[:12]}", **facts}


def contents_of_runtime() -> dict[str, bytes]:
    """The runtime's own files by their path in a bundle, without caches and hidden files."""
    found = {}
    for folder, target in (("pinnace", "lib/pinnace"), ("libexec", "libexec"), ("share", "share")):  # fmt: skip
        for path in sorted((RUNTIME / folder).rglob("*")):
            name = path.relative_to(RUNTIME / folder).as_posix()
            if _LEFT_OUT.search(name):
                continue
            if path.is_symlink():
                raise PinnaceError(f"{path} is a symbolic link, which a bundle does not carry")
            if path.is_file():
                found[f"{target}/{name}"] = path.read_bytes()
    return found


def _holds(path: Path, tree: Tree) -> bool:
    """Whether the cached archive is whole and is of these contents."""
    try:
        return gzip.decompress(path.read_bytes()) == tree.tar()
    except (OSError, EOFError):
        return False


def _write(path: Path, data: bytes) -> None:
    handle, scratch = tempfile.mkstemp(prefix="new-", dir=path.parent)
    try:
        with open(handle, "wb") as file:
            file.write(data)
        os.rename(scratch, path)
    finally:
        Path(scratch).unlink(missing_ok=True)
