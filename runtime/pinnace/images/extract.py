"""Members of a layer become files: owners, modes, times, attributes, links, devices, whiteouts.

What a layer says applies to what is below it (OCI image spec, layer.md, "Applying Changesets"):
a whiteout hides only what lower layers brought, never what this layer brings.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from pinnace.errors import InvalidArgument
from pinnace.images import tar
from pinnace.images.confine import Parts, Tree, find_below, split
from pinnace.store import disk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pinnace.images.compression import LayerReader
    from pinnace.images.tar import Member

_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_AUFS = b".wh..wh."
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK = 4096
# Attributes that a layer may bring. Others belong to the host: trusted.overlay.* would turn a
# directory into a view of another one, security.* labels come from the host's policy.
_ATTRIBUTES = (b"user.", b"security.capability", b"system.posix_acl_")
_OWN_ATTRIBUTES = (b"user.overlay.",)


def keeps_attribute(key: bytes) -> bool:
    """Whether an extended attribute is part of a layer."""
    return key.startswith(_ATTRIBUTES) and not key.startswith(_OWN_ATTRIBUTES)


class Target(NamedTuple):
    """Where a layer goes: a directory, and how it hides what is below.

    ``marks`` is the prefix of overlayfs's attributes (``trusted.overlay.``) when the directory is
    a layer of its own on top of ``lower`` (nearest first); empty when it holds everything.
    """

    root: str
    lower: Sequence[str] = ()
    marks: str = ""


class Extractor:
    """Puts members into a target; counts the inodes and the bytes of disk they take."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.inodes = 1
        self.blocks = 1
        self._privileged = os.geteuid() == 0
        self._tree = Tree(target.root, self._make_missing)
        self._directory_times: dict[Parts, int] = {}
        # What this layer brought, which whiteouts must spare. An empty directory or a layer of
        # its own needs no such list: everything in it is this layer's.
        self._brought: set[Parts] | None = None
        if not target.marks and os.listdir(self._tree.root):
            self._brought = set()

    def close(self) -> None:
        """Close every descriptor."""
        self._tree.close()

    def add(self, member: Member, reader: LayerReader) -> None:
        """Make the member and consume its data; raises InvalidArgument, DataLoss, OSError."""
        parts = split(member.name)
        if not parts:
            self._root(member)
        elif parts[-1].startswith(_WHITEOUT):
            self._whiteout(parts)
        else:
            if self._brought is not None:
                self._brought.update(parts[:n] for n in range(1, len(parts) + 1))
            self._make(member, parts, reader)
            return
        reader.skip(member.size + tar.padding(member.size))

    def _make(self, member: Member, parts: Parts, reader: LayerReader) -> None:
        parent, name = self._tree.directory(parts[:-1]), parts[-1]
        self.inodes += 1
        if member.kind == tar.REGULAR:
            self._regular(member, parent, name, reader)
            return
        reader.skip(member.size + tar.padding(member.size))
        if member.kind == tar.DIRECTORY:
            self._directory(member, parts, parent, name)
        elif member.kind == tar.HARD_LINK:
            self._hard_link(member, parts, parent, name)
        else:
            self._node(member, parent, name)

    def _root(self, member: Member) -> None:
        if member.kind != tar.DIRECTORY:
            raise InvalidArgument("layer replaces its root directory by something else")
        self._directory_looks(member, self._tree.root, ())

    # One kind each.

    def _regular(self, member: Member, parent: int, name: bytes, reader: LayerReader) -> None:
        try:
            fd = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
        except FileExistsError:
            self._clear(parent, name)
            fd = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
        try:
            if member.segments is not None:
                self._sparse(member, fd, reader)
            elif member.size:
                reader.copy(fd, member.size)
            if member.size % 512:
                reader.skip(-member.size % 512)
            self.blocks += -(-member.size // _BLOCK)
            # In this order: chown takes away set-id bits and capabilities.
            if self._privileged:
                os.fchown(fd, member.uid, member.gid)
            os.fchmod(fd, member.mode & 0o7777)
            if member.xattrs:
                self._attributes(member, fd)
            os.utime(fd, ns=(member.mtime_ns, member.mtime_ns))
        finally:
            os.close(fd)

    def _sparse(self, member: Member, fd: int, reader: LayerReader) -> None:
        os.ftruncate(fd, member.real_size)
        for offset, length in member.segments or ():
            os.lseek(fd, offset, os.SEEK_SET)
            reader.copy(fd, length)

    def _directory(self, member: Member, parts: Parts, parent: int, name: bytes) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                hidden = self._is_whiteout(status)
                self._clear(parent, name)
                os.mkdir(name, 0o700, dir_fd=parent)
                if hidden:
                    self._mark_opaque(self._tree.directory(parts))
        self.blocks += 1
        self._directory_looks(member, self._tree.directory(parts), parts)

    def _directory_looks(self, member: Member, fd: int, parts: Parts) -> None:
        if self._privileged:
            os.fchown(fd, member.uid, member.gid)
        os.fchmod(fd, member.mode & 0o7777)
        if member.xattrs:
            self._attributes(member, fd)
        self._directory_times[parts] = member.mtime_ns  # set last: files come after it

    def _hard_link(self, member: Member, parts: Parts, parent: int, name: bytes) -> None:
        self.inodes -= 1
        source = split(member.linkname, "target of hard link")
        if not source:
            raise InvalidArgument(f"hard link {member.shown!r} to the root directory")
        if source == parts:
            return  # a link to itself changes nothing
        try:
            folder = self._tree.resolve(source[:-1], make=False)
            try:
                self._link(folder, source[-1], parent, name)
            finally:
                os.close(folder)
        except FileNotFoundError:
            target = member.linkname.decode(errors="replace")[:200]
            raise InvalidArgument(
                f"hard link {member.shown!r} to {target!r}, which is not in the layer"
            ) from None

    def _link(self, folder: int, source: bytes, parent: int, name: bytes) -> None:
        status = os.stat(source, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode) or self._is_whiteout(status):
            raise InvalidArgument(f"hard link to {source.decode(errors='replace')!r}: not a file")
        try:
            os.link(source, name, src_dir_fd=folder, dst_dir_fd=parent, follow_symlinks=False)
        except FileExistsError:
            self._clear(parent, name)
            os.link(source, name, src_dir_fd=folder, dst_dir_fd=parent, follow_symlinks=False)

    def _node(self, member: Member, parent: int, name: bytes) -> None:
        try:
            self._new_node(member, parent, name)
        except FileExistsError:
            self._clear(parent, name)
            self._new_node(member, parent, name)
        if self._privileged:
            os.chown(name, member.uid, member.gid, dir_fd=parent, follow_symlinks=False)
        if member.kind != tar.SYMLINK:
            os.chmod(name, member.mode & 0o7777, dir_fd=parent)  # just made, so no link
        if member.xattrs:
            self._attributes(member, f"/proc/self/fd/{parent}/".encode() + name)
        times = (member.mtime_ns, member.mtime_ns)
        os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)

    def _new_node(self, member: Member, parent: int, name: bytes) -> None:
        if member.kind == tar.SYMLINK:
            os.symlink(member.linkname, name, dir_fd=parent)
        elif member.kind == tar.FIFO:
            os.mkfifo(name, 0o600, dir_fd=parent)
        else:
            kind = stat.S_IFCHR if member.kind == tar.CHARACTER else stat.S_IFBLK
            os.mknod(name, kind | 0o600, os.makedev(*member.device), dir_fd=parent)

    def _attributes(self, member: Member, where: int | bytes) -> None:
        for key, value in (member.xattrs or {}).items():
            if not keeps_attribute(key):
                continue
            try:
                if isinstance(where, int):
                    os.setxattr(where, key, value)
                else:
                    os.setxattr(where, key, value, follow_symlinks=False)
            except OSError as error:
                # A file system without attributes, or not the privilege for this one: the file
                # is worth having all the same, as every other tool decides.
                if isinstance(error, PermissionError) or error.errno in _NOT_SUPPORTED:
                    continue
                if error.errno in _TOO_LARGE and self._has_room():
                    raise InvalidArgument(
                        f"attribute {key.decode(errors='replace')[:80]!r} of {member.shown!r}, {len(value)} bytes, "
                        "is more than this file system keeps"
                    ) from error
                raise

    def _has_room(self) -> bool:
        """Whether the disk is not full: ext4 says so of attributes that do not fit beside each other."""
        status = os.fstatvfs(self._tree.root)
        return status.f_bavail * status.f_frsize > 1 << 20

    # What hides and what is in the way.

    def _whiteout(self, parts: Parts) -> None:
        base = parts[-1]
        if base == _OPAQUE:
            self._hide_all(self._tree.directory(parts[:-1]), parts[:-1])
            return
        if base.startswith(_AUFS):
            return  # bookkeeping of AUFS, which means nothing elsewhere
        name = base[len(_WHITEOUT) :]
        if name in (b"", b".", b".."):
            raise InvalidArgument(f"whiteout {base!r} names no file")
        path = (*parts[:-1], name)
        parent = self._tree.directory(parts[:-1])
        try:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            if self.target.marks:
                os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)
                self.inodes += 1
            return
        if not self._is_ours(path):
            self._clear(parent, name)
        elif stat.S_ISDIR(status.st_mode):
            self._hide_all(self._tree.directory(path), path)

    def _is_ours(self, path: Parts) -> bool:
        return self._brought is None or path in self._brought

    def _hide_all(self, fd: int, parts: Parts) -> None:
        """Hide what lower layers have in this directory."""
        if self.target.marks:
            self._mark_opaque(fd)
            return
        if self._brought is None:
            return
        stack = [parts]
        while stack:
            path = stack.pop()
            fd = self._tree.directory(path)
            for name in os.listdir(fd):
                child = (*path, os.fsencode(name))
                if not self._is_ours(child):
                    disk.remove_at(fd, child[-1])
                elif self._is_directory(fd, child[-1]):
                    stack.append(child)

    def _is_directory(self, parent: int, name: bytes) -> bool:
        return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)

    def _mark_opaque(self, fd: int) -> None:
        os.setxattr(fd, f"{self.target.marks}opaque", b"y")

    def _is_whiteout(self, status: os.stat_result) -> bool:
        marked = stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
        return bool(self.target.marks) and marked

    def _clear(self, parent: int, name: bytes) -> None:
        """Remove what is in the way of a member."""
        disk.remove_at(parent, name)

    def _make_missing(self, parent: int, name: bytes, parts: Parts) -> None:
        """A directory that the layer names only in passing looks like the one below it."""
        os.mkdir(name, 0o755, dir_fd=parent)
        self.inodes += 1
        self.blocks += 1
        if self._brought is not None:
            self._brought.add(parts)
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        try:
            below = self._below(parts)
            if below is not None and self._privileged:
                os.fchown(fd, below.st_uid, below.st_gid)
            os.fchmod(fd, stat.S_IMODE(below.st_mode) if below else 0o755)
        finally:
            os.close(fd)

    def _below(self, parts: Parts) -> os.stat_result | None:
        for lower in self.target.lower:
            try:
                found = find_below(lower, parts)
            except NotADirectoryError:
                return None
            if found is not None:
                return found if stat.S_ISDIR(found.st_mode) else None
        return None

    def finish(self) -> None:
        """Set the times of directories, which everything made in them has changed."""
        strict = Tree(self.target.root)
        try:
            for parts, time in sorted(self._directory_times.items(), key=lambda item: item[0]):
                try:
                    fd = strict.directory(parts)
                except (FileNotFoundError, InvalidArgument):
                    continue  # replaced later in the layer
                try:
                    os.utime(fd, ns=(time, time))
                except OverflowError as error:
                    raise InvalidArgument(
                        f"time of directory {b'/'.join(parts)!r}: {error}"
                    ) from error
        finally:
            strict.close()


_NOT_SUPPORTED = (95, 61)  # EOPNOTSUPP, ENODATA
_TOO_LARGE = (errno.E2BIG, errno.ERANGE, errno.ENOSPC)
