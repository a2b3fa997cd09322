"""Idmapped mounts: a file system shown with its owners shifted (mount_setattr(2), "ID-mapped mounts").

The mapping is that of a user namespace, which is made for this by a child that lives only as long as
the namespace is not held by a descriptor. Imported only for a configuration that asks for such a mount.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence
from typing import NamedTuple

from pinnace.linux import libc
from pinnace.linux.kernel import CLONE_NEWUSER, Kernel

_OPEN_TREE_CLONE = 1
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_ATTR_IDMAP = 0x100000
_MOVE_FROM_EMPTY = 0x04
_MOVE_TO_EMPTY = 0x40


class Mapping(NamedTuple):
    """``size`` ids from ``inside`` on are ``outside`` ones (user_namespaces(7))."""

    inside: int
    outside: int
    size: int

    def line(self) -> str:
        """As a line of /proc/PID/uid_map."""
        return f"{self.inside} {self.outside} {self.size}\n"


def user_namespace(kernel: Kernel, users: Sequence[Mapping], groups: Sequence[Mapping]) -> int:
    """A descriptor of a new user namespace with these mappings, which nobody is in.

    Takes CAP_SETUID and CAP_SETGID. Raises OSError.
    """
    made, ours = os.pipe()
    held, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        _be_inside(kernel, ours, held, (made, theirs))
    os.close(ours)
    os.close(held)
    try:
        if not os.read(made, 1):
            raise OSError(1, "a user namespace cannot be made")
        for name, mappings in (("uid_map", users), ("gid_map", groups)):
            with open(f"/proc/{child}/{name}", "w", encoding="ascii") as file:
                file.write("".join(mapping.line() for mapping in mappings))
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(made)
        os.close(theirs)
        os.waitpid(child, 0)


def _be_inside(kernel: Kernel, ours: int, held: int, others: tuple[int, int]) -> None:
    try:
        for fd in others:
            os.close(fd)
        kernel.unshare(CLONE_NEWUSER)
        os.write(ours, b"1")
        os.read(held, 1)  # until the parent has what it wants, or is gone
    finally:
        os._exit(0)


def open_tree(source: str, *, recursive: bool) -> int:
    """open_tree(2): a copy of the mount at ``source`` that is mounted nowhere yet."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | (_AT_RECURSIVE if recursive else 0)
    return libc.syscall("open_tree", libc.SYS_OPEN_TREE, -100, source, flags, about=source)


def apply(tree: int, namespace: int, *, recursive: bool) -> None:
    """Shift the owners in ``tree`` by the mapping of the user namespace; once for each mount.

    Raises OSError: EINVAL where the file system cannot be shown so.
    """
    _set(tree, (_ATTR_IDMAP, 0, 0, namespace), recursive=recursive)


def propagate(tree: int, propagation: int) -> None:
    """Give every mount in ``tree`` a propagation: MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE. Raises OSError."""
    _set(tree, (0, 0, propagation, 0), recursive=True)


def _set(tree: int, attributes: tuple[int, int, int, int], *, recursive: bool) -> None:
    """mount_setattr(2), of ``struct mount_attr``: set, clear, propagation, user namespace."""
    packed = ctypes.create_string_buffer(struct.pack("=4Q", *attributes), 32)
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    libc.syscall("mount_setattr", libc.SYS_MOUNT_SETATTR, tree, "", flags, packed, 32)


def attach(tree: int, place: int) -> None:
    """move_mount(2): mount ``tree`` on what is behind the descriptor ``place``."""
    libc.syscall(
        "move_mount", libc.SYS_MOVE_MOUNT, tree, "", place, "", _MOVE_FROM_EMPTY | _MOVE_TO_EMPTY
    )
