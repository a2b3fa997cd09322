"""Mounts: the record that snapshotters, the daemon and the shim exchange, and what is done with it.

``Mount`` has the shape of containerd's mount type and of an OCI mount: options are the words of
fstab and of the OCI runtime specification (config.md, "Mounts"), turned into kernel flags here.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from pinnace.linux import libc

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_SYNCHRONOUS = 16
MS_REMOUNT = 32
MS_MANDLOCK = 64
MS_DIRSYNC = 128
MS_NOSYMFOLLOW = 256
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_SILENT = 32768
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_I_VERSION = 1 << 23
MS_STRICTATIME = 1 << 24
MS_LAZYTIME = 1 << 25

MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

SET: dict[str, int] = {
    "async": 0, "atime": 0, "bind": MS_BIND, "defaults": 0, "dev": 0, "diratime": 0,
    "dirsync": MS_DIRSYNC, "exec": 0, "iversion": MS_I_VERSION, "lazytime": MS_LAZYTIME,
    "loud": 0, "mand": MS_MANDLOCK, "noatime": MS_NOATIME, "nodev": MS_NODEV,
    "nodiratime": MS_NODIRATIME, "noexec": MS_NOEXEC, "noiversion": 0, "nolazytime": 0,
    "nomand": 0, "norelatime": 0, "nostrictatime": 0, "nosuid": MS_NOSUID,
    "nosymfollow": MS_NOSYMFOLLOW, "rbind": MS_BIND | MS_REC, "relatime": MS_RELATIME,
    "remount": MS_REMOUNT, "ro": MS_RDONLY, "rw": 0, "silent": MS_SILENT,
    "strictatime": MS_STRICTATIME, "suid": 0, "symfollow": 0, "sync": MS_SYNCHRONOUS,
}  # fmt: skip
CLEAR: dict[str, int] = {
    "async": MS_SYNCHRONOUS, "atime": MS_NOATIME, "dev": MS_NODEV, "diratime": MS_NODIRATIME,
    "exec": MS_NOEXEC, "loud": MS_SILENT, "noiversion": MS_I_VERSION,
    "nolazytime": MS_LAZYTIME, "nomand": MS_MANDLOCK, "norelatime": MS_RELATIME,
    "nostrictatime": MS_STRICTATIME, "rw": MS_RDONLY, "suid": MS_NOSUID,
    "symfollow": MS_NOSYMFOLLOW,
}  # fmt: skip
PROPAGATION: dict[str, int] = {
    "private": MS_PRIVATE, "rprivate": MS_PRIVATE | MS_REC,
    "shared": MS_SHARED, "rshared": MS_SHARED | MS_REC,
    "slave": MS_SLAVE, "rslave": MS_SLAVE | MS_REC,
    "unbindable": MS_UNBINDABLE, "runbindable": MS_UNBINDABLE | MS_REC,
}  # fmt: skip
# mount_setattr(2) attributes that apply to every mount below: OCI "rro" and friends.
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV, _ATTR_NOEXEC = 1, 2, 4, 8
_ATTR_ATIME_MASK, _ATTR_NOATIME, _ATTR_STRICTATIME = 0x70, 0x10, 0x20
_ATTR_NODIRATIME, _ATTR_NOSYMFOLLOW = 0x80, 0x200000
RECURSIVE: dict[str, tuple[int, int]] = {
    "rro": (_ATTR_RDONLY, 0), "rrw": (0, _ATTR_RDONLY),
    "rnosuid": (_ATTR_NOSUID, 0), "rsuid": (0, _ATTR_NOSUID),
    "rnodev": (_ATTR_NODEV, 0), "rdev": (0, _ATTR_NODEV),
    "rnoexec": (_ATTR_NOEXEC, 0), "rexec": (0, _ATTR_NOEXEC),
    "rnodiratime": (_ATTR_NODIRATIME, 0), "rdiratime": (0, _ATTR_NODIRATIME),
    "rnoatime": (_ATTR_NOATIME, _ATTR_ATIME_MASK), "ratime": (0, _ATTR_ATIME_MASK),
    "rrelatime": (0, _ATTR_ATIME_MASK), "rnorelatime": (0, _ATTR_ATIME_MASK),
    "rstrictatime": (_ATTR_STRICTATIME, _ATTR_ATIME_MASK),
    "rnostrictatime": (0, _ATTR_ATIME_MASK),
    "rnosymfollow": (_ATTR_NOSYMFOLLOW, 0), "rsymfollow": (0, _ATTR_NOSYMFOLLOW),
}  # fmt: skip

_PAGE = 4096


class Mount(NamedTuple):
    """A mount to be made: ``mount -t type -o options source target``."""

    type: str
    source: str
    target: str = ""
    options: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, shape: dict[str, Any]) -> Mount:
        """From the JSON form used between daemon and shim."""
        return cls(
            str(shape.get("type") or ""),
            str(shape.get("source") or ""),
            str(shape.get("target") or ""),
            tuple(str(option) for option in shape.get("options") or ()),
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; ``from_dict`` turns it back."""
        return {**self._asdict(), "options": list(self.options)}


class MountOptions(NamedTuple):
    """Option words, sorted by the system call that takes them."""

    flags: int  # mount(2) flags to set
    clear: int  # flags a later word took back; a remount must not keep them
    propagation: tuple[int, ...]  # each needs a mount(2) call of its own
    recursive: tuple[int, int]  # mount_setattr(2) attributes to set and to clear, recursively
    data: str  # what is left for the file system itself
    copy_up: bool  # tmpcopyup: fill the tmpfs with what it hides


def parse_options(options: tuple[str, ...] | list[str]) -> MountOptions:
    """Sort option words; words nobody knows are the file system's and end up in ``data``."""
    flags = clear = 0
    propagation: list[int] = []
    attributes_set = attributes_clear = 0
    data: list[str] = []
    copy_up = False
    for word in options:
        if word in SET:
            flags = flags & ~CLEAR.get(word, 0) | SET[word]
            clear = clear & ~SET[word] | CLEAR.get(word, 0)
        elif word in PROPAGATION:
            propagation.append(PROPAGATION[word])
        elif word in RECURSIVE:
            setting, clearing = RECURSIVE[word]
            attributes_set = attributes_set & ~clearing | setting
            attributes_clear = attributes_clear & ~setting | clearing
        elif word == "tmpcopyup":
            copy_up = True
        else:
            data.append(word)
    attributes = (attributes_set, attributes_clear)
    return MountOptions(flags, clear, tuple(propagation), attributes, ",".join(data), copy_up)


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """mount(2). Raises OSError naming the target."""
    libc.call("mount", source, target, kind, flags, data or None, about=target)


def unmount(target: str, flags: int = 0) -> None:
    """umount2(2). Raises OSError naming the target."""
    libc.call("umount2", target, flags, about=target)


def mount_one(item: Mount, target: str) -> None:
    """Mount ``item`` on ``target`` (``item.target`` is not looked at).

    A bind mount takes its flags in a second, remounting call; propagation words each take one
    more. Raises OSError naming the target.
    """
    parsed = parse_options(item.options)
    if item.type == "overlay" and len(parsed.data) >= _PAGE:
        _mount_long_overlay(item.source, target, parsed)
    elif parsed.flags & MS_BIND:
        mount(item.source, target, "", parsed.flags & (MS_BIND | MS_REC))
        if parsed.flags & ~(MS_BIND | MS_REC):
            mount("", target, "", parsed.flags & ~MS_REC | MS_BIND | MS_REMOUNT)
    else:
        mount(item.source, target, item.type, parsed.flags, parsed.data)
    for propagation in parsed.propagation:
        mount("", target, "", propagation)


def mount_all(mounts: list[Mount] | tuple[Mount, ...], target: str) -> None:
    """Mount each of ``mounts`` on ``target`` (or below it, where a mount names a relative target).

    All or nothing: when one fails, those made before it are unmounted and the error is raised.
    """
    done: list[str] = []
    try:
        for item in mounts:
            place = os.path.join(target, item.target.lstrip("/")) if item.target else target
            mount_one(item, place)
            done.append(place)
    except OSError:
        for place in reversed(done):
            unmount(place, MNT_DETACH)
        raise


def unmount_all(target: str, *, detach: bool = True) -> None:
    """Unmount everything stacked on ``target``; nothing mounted there (or no target) is fine."""
    flags = UMOUNT_NOFOLLOW | (MNT_DETACH if detach else 0)
    while True:
        try:
            unmount(target, flags)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as problem:
            # EINVAL: not a mount point. An unprivileged caller is refused before that is looked at.
            if problem.errno == 22 or (problem.errno == 1 and not os.path.ismount(target)):
                return
            raise


def _mount_long_overlay(source: str, target: str, parsed: MountOptions) -> None:
    """An overlay whose options outgrow the page mount(2) takes: name layers from a common parent.

    The parent is held as a descriptor, so that each layer costs some twenty bytes.
    """
    pairs = [word.partition("=")[::2] for word in parsed.data.split(",")]
    directories = [
        part for key, value in pairs if key in _OVERLAY_PATHS for part in value.split(":")
    ]
    parent = os.path.commonpath(directories)
    descriptor = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        prefix = f"/proc/self/fd/{descriptor}"
        words = []
        for key, value in pairs:
            if key in _OVERLAY_PATHS:
                parts = [f"{prefix}/{os.path.relpath(part, parent)}" for part in value.split(":")]
                value = ":".join(parts)
            words.append(f"{key}={value}" if value else key)
        mount(source, target, "overlay", parsed.flags, ",".join(words))
    finally:
        os.close(descriptor)


_OVERLAY_PATHS = ("lowerdir", "upperdir", "workdir")
