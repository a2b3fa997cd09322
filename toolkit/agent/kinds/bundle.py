"""Releases of the runtime: unpacked beside each other, switched by one symbolic link.

A release directory exists only when it is complete: it is unpacked under a temporary name, synced,
and renamed. ``current`` is switched by rename too. Old releases stay while a process runs from them.
"""

from __future__ import annotations

import os
import stat

from toolkit.agent.errors import AgentError
from toolkit.agent.kinds.base import Change, Kind
from toolkit.agent.system import sync_directory, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    import tarfile
    from collections.abc import Iterator, Sequence

    from toolkit.agent.kinds.base import Contents, Resource, State
    from toolkit.agent.system import System

KEPT = 3
"""Releases that stay, the current one included."""
_INCOMING = ".incoming-"


class Bundle(Kind):
    """``release`` (id), ``base`` (/opt/pinnace), ``digest``, ``size``, ``unpacked`` (bytes)."""

    def look(self, resource: Resource, system: System) -> State:
        release = f"{resource['base']}/releases/{resource['release']}"
        link = system.path(f"{resource['base']}/current")
        current = os.path.basename(os.readlink(link)) if os.path.islink(link) else "none"
        return {"installed": system.lstat(release) is not None, "current": current}

    def diff(self, resource: Resource, state: State) -> list[Change]:
        changes = []
        if not state["installed"]:
            changes.append(Change("release", "absent", resource["release"]))
        if state["current"] != resource["release"]:
            changes.append(Change("current", state["current"], resource["release"]))
        return changes

    def wants(self, resource: Resource, changes: Sequence[Change]) -> list[tuple[str, int]]:
        missing = any(change.what == "release" for change in changes)
        return [(resource["digest"], resource["size"])] if missing else []

    def places(self, resource: Resource, changes: Sequence[Change]) -> list[tuple[str, int]]:
        size = resource["unpacked"] if self.wants(resource, changes) else 0
        return [(f"{resource['base']}/releases/x", size + (1 << 20))]

    def apply(self, resource: Resource, system: System, contents: Contents) -> None:
        base, release = resource["base"], resource["release"]
        system.make_directory(f"{base}/releases")
        releases = system.path(f"{base}/releases")
        for entry in os.listdir(releases):
            if entry.startswith(_INCOMING):
                _remove(os.path.join(releases, entry))
        if not os.path.isdir(os.path.join(releases, release)):
            incoming = os.path.join(releases, _INCOMING + release)
            try:
                unpack(contents(resource["digest"]), incoming)
            except BaseException:
                _remove(incoming)
                raise
            os.rename(incoming, os.path.join(releases, release))
            sync_directory(releases)
        system.symlink(f"{base}/current", f"releases/{release}")
        prune(releases, release)


def unpack(chunks: Iterator[bytes], directory: str) -> None:
    """Unpack a tar archive (gzip) into a new directory, each file synced, nothing outside of it."""
    import tarfile

    os.mkdir(directory, 0o755)
    with tarfile.open(fileobj=_Reader(chunks), mode="r|gz") as archive:  # type: ignore[call-overload]
        for member in archive:
            _member(archive, member, directory)
    for parent, _, _ in os.walk(directory):
        sync_directory(parent)


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo, directory: str) -> None:
    parts = member.name.split("/")
    if member.name.startswith("/") or ".." in parts:
        raise AgentError(f"the bundle names a file outside of itself: {member.name}")
    path = os.path.join(directory, *(part for part in parts if part not in ("", ".")))
    # Files of earlier members only: a link among the parents could lead out.
    if not os.path.realpath(os.path.dirname(path)).startswith(os.path.realpath(directory)):
        raise AgentError(f"the bundle writes through a link: {member.name}")
    if member.isdir():
        os.makedirs(path, 0o755, exist_ok=True)
    elif member.issym():
        target = os.path.normpath(os.path.join(os.path.dirname(path), member.linkname))
        if os.path.isabs(member.linkname) or not target.startswith(directory + os.sep):
            raise AgentError(f"the bundle links out of itself: {member.name} -> {member.linkname}")
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        os.symlink(member.linkname, path)
    elif member.isreg():
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        _file(archive, member, path)
    else:
        raise AgentError(f"the bundle has something else than files and links: {member.name}")


def _file(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
    source = archive.extractfile(member)
    assert source is not None
    # A release is read-only; root is not stopped by that, but a slip is seen.
    mode = stat.S_IMODE(member.mode) & 0o555
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        for chunk in iter(lambda: source.read(1 << 16), b""):
            write_all(fd, chunk)
        os.fchmod(fd, mode)
        if member.mtime:
            os.utime(fd, (member.mtime, member.mtime))
        os.fsync(fd)
    finally:
        os.close(fd)


class _Reader:
    """A file over chunks, as far as a tar stream needs one."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int) -> bytes:
        while len(self._rest) < size:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            self._rest += chunk
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


def prune(releases: str, current: str) -> list[str]:
    """Remove the oldest releases beyond :data:`KEPT` that nothing runs from; returns their names."""
    names = [name for name in os.listdir(releases) if not name.startswith(".")]
    if len(names) <= KEPT:
        return []
    names.sort(key=lambda name: os.stat(os.path.join(releases, name)).st_mtime, reverse=True)
    spare = [name for name in names if name != current][KEPT - 1 :]
    removed = [name for name in spare if not _in_use(os.path.join(releases, name))]
    for name in removed:
        _remove(os.path.join(releases, name))
    return removed


def _remove(path: str) -> None:
    import shutil

    shutil.rmtree(path, ignore_errors=True)


def _in_use(release: str) -> bool:
    """Whether a process names the release in its command line, working directory or mappings."""
    needle = os.fsencode(release)
    for pid in os.listdir("/proc"):
        if not pid.isdigit():
            continue
        try:
            if os.readlink(f"/proc/{pid}/cwd").startswith(release):
                return True
            for name in ("cmdline", "maps", "environ"):
                with open(f"/proc/{pid}/{name}", "rb") as file:
                    if needle in file.read():
                        return True
        except OSError:
            continue  # it ended while we looked
    return False
