"""The changes between two trees as a layer: what ``apply`` would need to make one of the other.

The result depends only on the trees: members are sorted, and nothing of the moment goes in.
Sources: OCI image spec, layer.md, "Representing Changes"; the order of comparison is containerd's
(owner, mode and attributes; then size and time; content only where the time has no fraction).
"""

from __future__ import annotations

import os
import stat
import tempfile
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pinnace.errors import Error
from pinnace.images import tar
from pinnace.images.compression import Summary
from pinnace.images.extract import keeps_attribute
from pinnace.images.tarwrite import Header, TarWriter, Writable
from pinnace.linux import mount as mounts
from pinnace.spec import digest as digests
from pinnace.store import disk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pinnace.linux.mount import Mount

_CHUNK_BYTES = 1 << 20
_KINDS = {
    stat.S_IFREG: tar.REGULAR,
    stat.S_IFDIR: tar.DIRECTORY,
    stat.S_IFLNK: tar.SYMLINK,
    stat.S_IFCHR: tar.CHARACTER,
    stat.S_IFBLK: tar.BLOCK,
    stat.S_IFIFO: tar.FIFO,
}


def diff_mounts(
    lower: Sequence[Mount], upper: Sequence[Mount], out: Writable, *, compress: bool
) -> Summary:
    """:func:`diff` of two snapshots' mounts; an empty *lower* means nothing is below."""
    with mounted(lower) as below, mounted(upper) as above:
        return diff(below, above, out, compress=compress)


@contextmanager
def mounted(items: Sequence[Mount]) -> Iterator[str]:
    """Mounts, read-only, in a temporary directory while the block lasts; it needs root."""
    with disk.errors("mount a snapshot"):
        path = tempfile.mkdtemp(prefix="pinnace-diff-")
        try:
            mounts.mount_all([_read_only(item) for item in items], path)
            try:
                yield path
            finally:
                mounts.unmount_all(path)
        finally:
            os.rmdir(path)


def _read_only(item: Mount) -> Mount:
    options = tuple(option for option in item.options if option not in ("rw", "ro"))
    return item._replace(options=("ro", *options))


def diff(lower: str, upper: str, out: Writable, *, compress: bool = False) -> Summary:
    """Write what *upper* has, has otherwise, or lacks, compared with *lower*, as a tar layer.

    With *compress* the output is gzip; the summary is of the uncompressed layer. Nobody may
    change the trees meanwhile. Raises what reading and writing raise.
    """
    sink = _Sink(out, compress)
    with disk.errors(f"read {upper}"):
        _Differ(lower, upper, TarWriter(sink), sink).run()
    sink.finish()
    return Summary(digests.of(sink.hasher), sink.size)


class _Sink:
    """Hashes what is written, and compresses it if asked to."""

    def __init__(self, out: Writable, compress: bool) -> None:
        self._out = out
        self._packer = zlib.compressobj(6, zlib.DEFLATED, 31) if compress else None
        self.hasher = digests.hasher_for("sha256")
        self.size = 0

    def write(self, data: bytes) -> None:
        self.hasher.update(data)
        self.size += len(data)
        packed = self._packer.compress(data) if self._packer else data
        if packed:
            self._out.write(packed)

    def finish(self) -> None:
        if self._packer:
            self._out.write(self._packer.flush())


class _Differ:
    def __init__(self, lower: str, upper: str, writer: TarWriter, sink: _Sink) -> None:
        self._lower = os.fsencode(lower)
        self._upper = os.fsencode(upper)
        self._writer = writer
        self._sink = sink
        self._links: dict[tuple[int, int], bytes] = {}  # inode to the first name it was seen by
        self._written: set[bytes] = set()  # names of files with links that are in the layer
        # Directories on the way that are the same on both sides: written once something in them
        # is, so that they keep their looks wherever the layer is applied.
        self._waiting: list[tuple[bytes, os.stat_result]] = []

    def run(self) -> None:
        """Walk both trees in the order of names, without recursion: trees may be deep."""
        top = os.lstat(self._upper)
        if not _same_looks(self._lower, os.lstat(self._lower), self._upper, top):
            self._write(b"./", top)
        todo: list[tuple[bytes, bool]] = [(b"", True)]
        while todo:
            folder, both = todo.pop()
            self._waiting = [item for item in self._waiting if folder.startswith(item[0])]
            below: list[tuple[bytes, bool]] = []
            for name in self._names(folder, both):
                step = self._compare(folder + name, both)
                if step is not None:
                    below.append(step)
            todo += reversed(below)
        self._writer.finish()

    def _names(self, folder: bytes, both: bool) -> list[bytes]:
        names = set(os.listdir(os.path.join(self._upper, folder)))
        if both:
            names.update(os.listdir(os.path.join(self._lower, folder)))
        return sorted(names)

    def _compare(self, path: bytes, both: bool) -> tuple[bytes, bool] | None:
        """Write the change at *path*, if any; the directory to go on with, if it is one."""
        new = _status(os.path.join(self._upper, path))
        old = _status(os.path.join(self._lower, path)) if both else None
        if new is None:
            self._whiteout(path)
            return None
        is_directory = stat.S_ISDIR(new.st_mode)
        if old is None or not self._same(path, old, new) or not self._linked_alike(path, old, new):
            self._write(path + b"/" if is_directory else path, new)
        elif is_directory:
            self._waiting.append((path + b"/", new))
        if not is_directory:
            return None
        return path + b"/", old is not None and stat.S_ISDIR(old.st_mode)

    def _same(self, path: bytes, old: os.stat_result, new: os.stat_result) -> bool:
        lower, upper = os.path.join(self._lower, path), os.path.join(self._upper, path)
        if not _same_looks(lower, old, upper, new):
            return False
        if stat.S_ISLNK(new.st_mode):
            return os.readlink(lower) == os.readlink(upper)
        if not stat.S_ISREG(new.st_mode):
            return (old.st_rdev, old.st_mtime_ns) == (new.st_rdev, new.st_mtime_ns) or stat.S_ISDIR(
                new.st_mode
            )
        if old.st_size != new.st_size or old.st_mtime_ns != new.st_mtime_ns:
            return False
        if new.st_mtime_ns % 1_000_000_000:
            return True
        if (old.st_ino, old.st_ctime_ns) == (new.st_ino, new.st_ctime_ns):
            return True
        return _same_content(lower, upper)

    def _linked_alike(self, path: bytes, old: os.stat_result, new: os.stat_result) -> bool:
        """Whether an unchanged file is the same as the same earlier names as before.

        A name that links to it and was written already, or is new, must become a link again.
        """
        if stat.S_ISDIR(new.st_mode) or new.st_nlink == 1:
            return True
        first = self._links.setdefault((new.st_dev, new.st_ino), path)
        if first == path:
            return True
        if first in self._written:
            return False
        before = _status(os.path.join(self._lower, first))
        return before is not None and os.path.samestat(before, old)

    def _whiteout(self, path: bytes) -> None:
        folder, _, name = path.rpartition(b"/")
        self._announce(path)
        whiteout = (folder + b"/" if folder else b"") + b".wh." + name
        self._writer.add(Header(whiteout, mode=0))

    def _announce(self, path: bytes) -> None:
        """Write the unchanged directories above a change."""
        for name, status in self._waiting:
            if path.startswith(name):
                self._member(name, status)
        self._waiting = [item for item in self._waiting if not path.startswith(item[0])]

    def _write(self, path: bytes, status: os.stat_result) -> None:
        self._announce(path)
        self._member(path, status)

    def _member(self, path: bytes, status: os.stat_result) -> None:
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return  # a socket: whoever listened is gone, and tar has no word for it
        source = os.path.join(self._upper, path)
        header = Header(
            path,
            kind,
            status.st_size if kind == tar.REGULAR else 0,
            stat.S_IMODE(status.st_mode),
            status.st_uid,
            status.st_gid,
            status.st_mtime_ns,
            os.readlink(source) if kind == tar.SYMLINK else b"",
            (os.major(status.st_rdev), os.minor(status.st_rdev)),
            _attributes(source),
        )
        if kind != tar.DIRECTORY and status.st_nlink > 1:
            first = self._links.setdefault((status.st_dev, status.st_ino), path)
            self._written.add(path)
            if first != path:
                link = header._replace(kind=tar.HARD_LINK, size=0, linkname=first, xattrs={})
                self._writer.start(link)
                return
        self._writer.start(header)
        if kind == tar.REGULAR and header.size:
            self._data(source, header.size)

    def _data(self, source: bytes, size: int) -> None:
        left = size
        with open(source, "rb", buffering=0) as file:
            while left:
                data = file.read(min(left, _CHUNK_BYTES))
                if not data:
                    raise Error(f"{os.fsdecode(source)} became shorter while it was read")
                self._sink.write(data)
                left -= len(data)
        self._writer.pad(size)


def _status(path: bytes) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def _attributes(path: bytes) -> dict[bytes, bytes]:
    return {
        key: os.getxattr(path, key, follow_symlinks=False)
        for key in map(os.fsencode, os.listxattr(path, follow_symlinks=False))
        if keeps_attribute(key)
    }


def _same_looks(lower: bytes, old: os.stat_result, upper: bytes, new: os.stat_result) -> bool:
    return (old.st_mode, old.st_uid, old.st_gid) == (new.st_mode, new.st_uid, new.st_gid) and (
        _attributes(lower) == _attributes(upper)
    )


def _same_content(lower: bytes, upper: bytes) -> bool:
    with open(lower, "rb", buffering=0) as one, open(upper, "rb", buffering=0) as two:
        while True:
            mine, other = one.read(_CHUNK_BYTES), two.read(_CHUNK_BYTES)
            if mine != other:
                return False
            if not mine:
                return True
