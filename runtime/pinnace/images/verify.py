"""Whether an unpacked layer still is what its blob says: every file read from the disk and compared.

A pull does not read snapshots that are there, so bits that flip in them on a card are found by nobody
else. Compared are kind, size, mode, owner, target, device, capabilities and content of what the layer brought; not
times, and not what was added behind the snapshotter's back.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from pinnace.errors import Error, InvalidArgument
from pinnace.images import tar
from pinnace.images.compression import LayerReader
from pinnace.images.confine import Parts, Tree, split
from pinnace.images.unpack import DEFAULT_LIMITS

if TYPE_CHECKING:
    from pinnace.images.compression import Readable
    from pinnace.images.tar import Member
    from pinnace.spec.digest import Digest

_CHUNK_BYTES = 1 << 20
_WHITEOUT = b".wh."
_CAPABILITY = b"security.capability"
_KINDS = {
    tar.REGULAR: stat.S_IFREG, tar.DIRECTORY: stat.S_IFDIR, tar.SYMLINK: stat.S_IFLNK,
    tar.CHARACTER: stat.S_IFCHR, tar.BLOCK: stat.S_IFBLK, tar.FIFO: stat.S_IFIFO,
}  # fmt: skip


class Fault(NamedTuple):
    """A path inside the image, and what is wrong with it."""

    path: str
    what: str


class Verified(NamedTuple):
    """The digest of the uncompressed layer that was compared with, and what differs."""

    diff_id: Digest
    faults: list[Fault]


def compare(stream: Readable, root: str) -> Verified:
    """Compare the layer in *stream* with the tree at *root*, in which it is the topmost.

    Raises DataLoss, InvalidArgument for a layer that could not be unpacked either.
    """
    reader = LayerReader(stream, DEFAULT_LIMITS.size)
    comparison = _Comparison(root, reader)
    try:
        for member in tar.members(reader, DEFAULT_LIMITS.members):
            comparison.add(member)
        summary = reader.finish()
    finally:
        reader.close()
        comparison.close()
    faults = [Fault(_shown(parts), what) for parts, what in comparison.faults.items()]
    return Verified(summary.diff_id, faults)


class _Comparison:
    """What differs so far. A later member of the same path replaces an earlier one, and what was said of it."""

    def __init__(self, root: str, reader: LayerReader) -> None:
        self.faults: dict[Parts, str] = {}
        self._reader = reader
        self._tree = Tree(root)
        self._privileged = os.geteuid() == 0

    def close(self) -> None:
        self._tree.close()

    def add(self, member: Member) -> None:
        """Look at what a member has become, and consume its data."""
        parts = split(member.name)
        left = _Left(self._reader, member.size)
        if not parts or not parts[-1].startswith(_WHITEOUT):
            if member.kind != tar.DIRECTORY and self.faults:
                self._replace(parts)
            self.faults.pop(parts, None)
            if what := self._difference(member, parts, left):
                self.faults[parts] = what
        left.skip()
        self._reader.skip(tar.padding(member.size))

    def _replace(self, parts: Parts) -> None:
        """What is no directory has nothing below it any more."""
        for other in [key for key in self.faults if key[: len(parts)] == parts]:
            del self.faults[other]

    def _difference(self, member: Member, parts: Parts, left: _Left) -> str:
        try:
            folder = self._tree.directory(parts[:-1])
            name = parts[-1] if parts else b"."
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if member.kind == tar.HARD_LINK:
                return self._other_link(member, found)
            return self._looks(member, found) or self._inside(member, folder, name, left)
        except (FileNotFoundError, InvalidArgument):
            return "is missing"
        except OSError as problem:
            return f"cannot be read: {problem.strerror}"

    def _other_link(self, member: Member, found: os.stat_result) -> str:
        source = split(member.linkname)
        folder = self._tree.resolve(source[:-1], make=False)
        try:
            other = os.stat(source[-1], dir_fd=folder, follow_symlinks=False)
        finally:
            os.close(folder)
        same = (found.st_dev, found.st_ino) == (other.st_dev, other.st_ino)
        return "" if same else f"is no link to {_shown(source)}"

    def _looks(self, member: Member, found: os.stat_result) -> str:
        if stat.S_IFMT(found.st_mode) != _KINDS[member.kind]:
            return "is another kind of file"
        if self._privileged and (found.st_uid, found.st_gid) != (member.uid, member.gid):
            return "has another owner"
        if member.kind != tar.SYMLINK and stat.S_IMODE(found.st_mode) != member.mode & 0o7777:
            return "has another mode"
        if member.kind == tar.REGULAR and found.st_size != member.real_size:
            return f"has {found.st_size} bytes instead of {member.real_size}"
        if member.kind in (tar.CHARACTER, tar.BLOCK) and found.st_rdev != os.makedev(
            *member.device
        ):
            return "is another device"
        return ""

    def _inside(self, member: Member, folder: int, name: bytes, left: _Left) -> str:
        if member.kind == tar.SYMLINK:
            return "" if os.readlink(name, dir_fd=folder) == member.linkname else "leads elsewhere"
        if member.kind != tar.REGULAR:
            return ""
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            # What memory still has of it says nothing about the disk.
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            pieces = [(0, member.size)] if member.segments is None else member.segments
            for offset, length in pieces:
                if not _same(fd, offset, length, left):
                    return "has other content"
            return _capabilities(fd, member) if self._privileged else ""
        finally:
            os.close(fd)


class _Left:
    """The data of one member that was not looked at yet."""

    def __init__(self, reader: LayerReader, size: int) -> None:
        self._reader = reader
        self._size = size

    def read(self, size: int) -> bytes:
        data = self._reader.read(min(size, self._size))
        self._size -= len(data)
        return data

    def skip(self) -> None:
        self._reader.skip(self._size)
        self._size = 0


def _same(fd: int, offset: int, length: int, left: _Left) -> bool:
    end = offset + length
    while offset < end:
        step = min(_CHUNK_BYTES, end - offset)
        if os.pread(fd, step, offset) != left.read(step):
            return False
        offset += step
    return True


def _capabilities(fd: int, member: Member) -> str:
    """File capabilities decide what a program may do; other attributes may have been left out."""
    wanted = (member.xattrs or {}).get(_CAPABILITY)
    if wanted is None or _CAPABILITY not in map(os.fsencode, os.listxattr(fd)):
        return ""
    return "" if os.getxattr(fd, _CAPABILITY) == wanted else "has other capabilities"


def _shown(parts: Parts) -> str:
    text = "/" + b"/".join(parts).decode(errors="replace")
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:300]


def described(problem: Error) -> Fault:
    """A layer whose blob cannot tell any more what it was, as a fault of its own."""
    return Fault("", f"cannot be compared: {problem.message}")
