"""The root file system of a full-system board: Debian's packages, unpacked and configured as a plain user.

No program of the root is run, and nobody needs to be root: files belong to whoever builds, and the
owners they shall have on the board are kept beside, in :class:`Tree`, until :meth:`Tree.write_tar` says
them to mke2fs.
"""

from __future__ import annotations

import os
import tarfile
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from toolkit.boards import twin
from toolkit.debian import Archive, Deb
from toolkit.process import run

UNWANTED = (
    "usr/share/doc/*",
    "usr/share/man/*",
    "usr/share/info/*",
    "usr/share/locale/*",
    "usr/share/lintian/*",
    "usr/share/zoneinfo/*/*",
    "boot/System.map-*",
    # Drivers of hardware that no machine here has: three quarters of a kernel's modules.
    *(
        f"usr/lib/modules/*/kernel/{folder}/*"
        for folder in (
            "sound",
            "drivers/ata",
            "drivers/bluetooth",
            "drivers/gpu",
            "drivers/hwmon",
            "drivers/iio",
            "drivers/infiniband",
            "drivers/media",
            "drivers/net/can",
            "drivers/net/ethernet",
            "drivers/net/wireless",
            "drivers/scsi",
            "drivers/staging",
            "net/bluetooth",
            "net/mac80211",
            "net/wireless",
        )
    ),
)

Owner = tuple[int, int]


@dataclass(slots=True)
class Tree:
    """A directory that is to become a root file system; ``owners`` has who is not root, by path."""

    path: Path
    owners: dict[str, Owner] = field(default_factory=dict)

    def own(self, name: str, uid: int, gid: int, mode: int | None = None) -> None:
        """Say who ``name`` shall belong to on the board, and set its mode."""
        self.owners[name] = (uid, gid)
        if mode is not None:
            (self.path / name).chmod(mode)

    def write(self, name: str, text: str, mode: int = 0o644) -> None:
        """Write a file, making its directory."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def link(self, name: str, target: str) -> None:
        """Make a symbolic link, in place of what is there."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    def write_tar(self, stream: IO[bytes]) -> None:
        """Write all of it as a tar archive, in a fixed order, with the owners it shall have."""
        with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for folder, names, files in os.walk(self.path):
                names.sort()
                for name in sorted([*names, *files]):
                    path = os.path.join(folder, name)
                    self._add(archive, path, os.path.relpath(path, self.path))

    def _add(self, archive: tarfile.TarFile, path: str, name: str) -> None:
        info = archive.gettarinfo(path, name)
        info.uid, info.gid = self.owners.get(name, (0, 0))
        info.uname = info.gname = ""
        if info.isreg():
            with open(path, "rb") as content:
                archive.addfile(info, content)
        else:
            archive.addfile(info)


def unpack(tree: Tree, archive: Archive, debs: Sequence[Deb]) -> None:
    """Unpack ``debs``, which were fetched, and write dpkg's database."""
    for link in ("bin", "lib", "sbin"):
        (tree.path / "usr" / link).mkdir(parents=True)
        (tree.path / link).symlink_to(f"usr/{link}")
    database = twin.Database(tree.path, archive.arch)
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(os.cpu_count()) as threads:
        folders = [Path(scratch, str(index)) for index in range(len(debs))]
        paths = [archive.path(deb) for deb in debs]
        # Reading packages takes longest and goes side by side; the tree is written by one at a time.
        for folder in threads.map(_read, paths, folders):
            _place(folder, tree, database)
    database.write()


def _read(deb: Path, folder: Path) -> Path:
    folder.mkdir()
    run(["dpkg-deb", "-e", deb, folder / "DEBIAN"], f"reading {deb.name}")
    with open(folder / "data.tar", "wb") as data:
        run(["dpkg-deb", "--fsys-tarfile", deb], f"reading {deb.name}", stdout=data)
    return folder


def _place(folder: Path, tree: Tree, database: twin.Database) -> None:
    data = folder / "data.tar"
    options = ["--no-same-owner", "--keep-directory-symlink", "--wildcards"]
    excludes = [f"--exclude=./{name}" for name in UNWANTED]
    run(["tar", "-xpf", data, "-C", tree.path, *options, *excludes], "unpacking a package")
    with tarfile.open(data) as archive:
        members = list(archive)
    data.unlink()
    database.add(folder / "DEBIAN", "".join(f"{member.name}\n" for member in members))
    for member in members:
        if (member.uid, member.gid) != (0, 0):
            name = twin.merged(member.name.removeprefix("./"))
            tree.owners[name] = (member.uid, member.gid)


def enabled(tree: Tree, units: Iterable[str]) -> None:
    """Enable systemd units as ``systemctl enable`` does: links by each one's [Install] section."""
    for unit in units:
        text = (tree.path / "usr/lib/systemd/system" / unit).read_text()
        _, _, install = text.partition("[Install]")
        for line in install.splitlines():
            key, _, values = line.partition("=")
            folders = {"WantedBy": "wants", "RequiredBy": "requires"}
            for value in values.split():
                if key in folders:
                    name = f"etc/systemd/system/{value}.{folders[key]}/{unit}"
                    tree.link(name, f"/usr/lib/systemd/system/{unit}")
                elif key == "Alias":
                    tree.link(f"etc/systemd/system/{value}", f"/usr/lib/systemd/system/{unit}")
