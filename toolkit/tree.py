"""File trees in memory and the reproducible tar archives they become.

Image layers and bundles are such archives: entries sorted by path, whole-second times, numeric owners,
no user names, gzip without a time. The same tree gives the same bytes on every machine that has the
same zlib.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


class Tree:
    """Files, directories and links by path; parents appear by themselves.

    ``mtime`` (seconds) is the time of everything that is added here by name.
    """

    def __init__(self, mtime: int = 0) -> None:
        self.mtime = mtime
        self._entries: dict[str, tuple[tarfile.TarInfo, bytes]] = {}

    def __contains__(self, path: str) -> bool:
        return path in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def read(self, path: str) -> bytes:
        """The contents of a file; raises ``KeyError``."""
        return self._entries[path][1]

    def mode(self, path: str) -> int:
        """The permissions of an entry; raises ``KeyError``."""
        return self._entries[path][0].mode

    def target(self, path: str) -> str:
        """Where a link points to; raises ``KeyError``."""
        return self._entries[path][0].linkname

    def files(self) -> list[str]:
        """The paths of all regular files, sorted."""
        return [path for path in self if self._entries[path][0].isreg()]

    def symlinks(self) -> list[str]:
        return [path for path in self if self._entries[path][0].issym()]

    def remove(self, path: str) -> None:
        """Take out an entry; raises ``KeyError``."""
        del self._entries[path]

    def file(self, path: str, data: bytes | str, mode: int = 0o644) -> None:
        info = self._new(path, tarfile.REGTYPE, mode)
        self.add(info, data.encode() if isinstance(data, str) else data)

    def directory(self, path: str, mode: int = 0o755) -> None:
        self.add(self._new(path, tarfile.DIRTYPE, mode))

    def symlink(self, path: str, target: str) -> None:
        info = self._new(path, tarfile.SYMTYPE, 0o777)
        info.linkname = target
        self.add(info)

    def hardlink(self, path: str, target: str) -> None:
        """Another name of a file that is in this tree."""
        info = self._new(path, tarfile.LNKTYPE, self._entries[target][0].mode)
        info.linkname = target
        self.add(info)

    def add(self, info: tarfile.TarInfo, data: bytes = b"") -> None:
        """Put in an entry as it is, apart from names of users and fractions of seconds."""
        path = PurePosixPath(info.name)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"not a path inside a tree: {info.name}")
        info.name = str(path)
        info.mtime = int(info.mtime)
        info.uname = info.gname = ""
        info.size = len(data)
        info.pax_headers = {}
        for parent in reversed(path.parents):
            if str(parent) != "." and str(parent) not in self._entries:
                self._entries[str(parent)] = (self._new(str(parent), tarfile.DIRTYPE, 0o755), b"")
        self._entries[info.name] = (info, data)

    def tar(self) -> bytes:
        """The archive. Hard links come last, so that their target is always there first."""
        buffer = io.BytesIO()
        entries = sorted(self._entries.items(), key=lambda item: (item[1][0].islnk(), item[0]))
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for _, (info, data) in entries:
                archive.addfile(info, io.BytesIO(data))
        return buffer.getvalue()

    def _new(self, path: str, kind: bytes, mode: int) -> tarfile.TarInfo:
        info = tarfile.TarInfo(path)
        info.type, info.mode, info.mtime = kind, mode, self.mtime
        return info


def compress(data: bytes, level: int = 6) -> bytes:
    """gzip (RFC 1952) without a time or a name in its header; ``level`` 1 to 9."""
    buffer = io.BytesIO()
    with gzip.GzipFile(
        filename="", mode="wb", compresslevel=level, fileobj=buffer, mtime=0
    ) as stream:
        stream.write(data)
    return buffer.getvalue()


def extract(archive: tarfile.TarFile, target: Path, rules: str) -> None:
    """Unpack a whole archive under ``target`` by tarfile's ``rules`` (``data``, ``tar``, ``fully_trusted``).

    Python 3.11.2, which is Debian 12's, knows no such rules and trusts the archive: for archives of
    our own making.
    """
    archive.extraction_filter = getattr(tarfile, f"{rules}_filter", None)
    archive.extractall(target)  # noqa: S202
