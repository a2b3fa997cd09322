"""Files to and from a board, as tar streams: one file or a whole directory, with modes."""

from __future__ import annotations

import io
import os
import shlex
import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from toolkit.errors import HostFailed, UsageError


def packed(source: Path | bytes, target: str, mode: int | None) -> tuple[bytes, str]:
    """What brings ``source`` to the path ``target``: a tar stream, and the command that takes it."""
    place = _absolute(target)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        if isinstance(source, bytes):
            member = tarfile.TarInfo(place.name)
            member.size, member.mode = len(source), 0o644 if mode is None else mode
            archive.addfile(member, io.BytesIO(source))
        else:
            archive.add(source, place.name, filter=lambda member: _plain(member, place.name, mode))
    folder = shlex.quote(str(place.parent))
    return out.getvalue(), f"mkdir -p {folder} && tar -x --no-same-owner -f - -C {folder}"


def _plain(member: tarfile.TarInfo, top: str, mode: int | None) -> tarfile.TarInfo:
    """Without this machine's users and, on the file that was named, with the mode that was asked for."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    if mode is not None and member.name == top:
        member.mode = mode
    return member


def packing(source: str) -> str:
    """The command that writes ``source`` to its standard output."""
    place = _absolute(source)
    return f"tar -c -f - -C {shlex.quote(str(place.parent))} {shlex.quote(place.name)}"


def unpack(data: bytes, source: str, target: Path) -> None:
    """Put what :func:`packing` wrote at ``target``; nothing in it gets outside of it, nor keeps special modes."""
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        try:
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                archive.extractall(scratch, filter="data")
        except tarfile.TarError as problem:
            raise HostFailed(f"{source} does not come from the board whole: {problem}") from None
        found = Path(scratch, _absolute(source).name)
        if not os.path.lexists(found):
            raise HostFailed(f"the board sends something else than {source}")
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        os.replace(found, target)


def _absolute(path: str) -> PurePosixPath:
    place = PurePosixPath(path)
    if not place.is_absolute() or not place.name:
        raise UsageError(f"a path on a board is absolute: {path!r}")
    return place
