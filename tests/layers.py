"""Layers for tests: tar archives built member by member, and what is found on disk afterwards."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Mapping
from pathlib import Path


class LayerBuilder:
    """Collects members of a tar; ``bytes()`` gives the archive."""

    def __init__(self, fmt: int = tarfile.PAX_FORMAT) -> None:
        self._buffer = io.BytesIO()
        self._tar = tarfile.TarFile(fileobj=self._buffer, mode="w", format=fmt)

    def add(
        self,
        name: str,
        data: bytes = b"",
        *,
        kind: bytes = tarfile.REGTYPE,
        link: str = "",
        mode: int = 0o644,
        owner: tuple[int, int] = (0, 0),
        mtime: float = 1_000_000_000,
        device: tuple[int, int] = (0, 0),
        pax: Mapping[str, str] | None = None,
    ) -> LayerBuilder:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.mode, info.mtime = kind, link, mode, mtime
        info.uid, info.gid = owner
        info.devmajor, info.devminor = device
        info.size = len(data)
        info.pax_headers = dict(pax or {})
        self._tar.addfile(info, io.BytesIO(data))
        return self

    def directory(self, name: str, mode: int = 0o755, **rest: object) -> LayerBuilder:
        return self.add(name, kind=tarfile.DIRTYPE, mode=mode, **rest)  # type: ignore[arg-type]

    def symlink(self, name: str, target: str) -> LayerBuilder:
        return self.add(name, kind=tarfile.SYMTYPE, link=target, mode=0o777)

    def hard_link(self, name: str, target: str) -> LayerBuilder:
        return self.add(name, kind=tarfile.LNKTYPE, link=target)

    def bytes(self) -> bytes:
        self._tar.close()
        return self._buffer.getvalue()


Entry = tuple[object, ...]


def listing(root: Path, *, times: bool = True) -> dict[str, Entry]:
    """What is below *root*: type and mode, owner, time, links, content, device, attributes."""
    found: dict[str, Entry] = {}
    links: dict[int, str] = {}
    for folder, directories, files in os.walk(root):
        for name in sorted(directories + files):
            path = Path(folder, name)
            status = path.lstat()
            content: object = None
            if stat.S_ISREG(status.st_mode):
                content = path.read_bytes()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif not stat.S_ISDIR(status.st_mode):
                content = status.st_rdev
            same = links.setdefault(status.st_ino, str(path.relative_to(root)))
            attributes = {
                key: os.getxattr(path, key, follow_symlinks=False)
                for key in os.listxattr(path, follow_symlinks=False)
            }
            found[str(path.relative_to(root))] = (
                oct(status.st_mode),
                status.st_uid,
                status.st_gid,
                status.st_mtime_ns if times else 0,
                content,
                None if stat.S_ISDIR(status.st_mode) else same,
                attributes,
            )
    return found
