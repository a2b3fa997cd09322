"""What is mounted and swapped to, now and at the next boot.

The change is made first and written to /etc/fstab last: an entry that does not work would stop the
next boot, and a run that is cut off in between finds the entry missing and does it again.
"""

from __future__ import annotations

import os
import re

from toolkit.agent.kinds.base import Change, Kind
from toolkit.agent.kinds.lines import decode, put, rewrite, shown
from toolkit.agent.system import TEMPORARY, sync_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from toolkit.agent.kinds.base import Contents, Resource, State, Text
    from toolkit.agent.system import System

FSTAB = "/etc/fstab"
_TAGS = {"UUID": "uuid", "LABEL": "label", "PARTUUID": "partuuid", "PARTLABEL": "partlabel"}
_FLAGS = ("ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime", "strictatime")
"""Options that /proc/self/mountinfo shows as they were given."""
_AT_BOOT = ("defaults", "auto", "noauto", "nofail", "_netdev")
_SIGNATURE = b"SWAPSPACE2"


def unescape(text: str) -> str:
    r"""A field of fstab(5) or /proc/self/mountinfo: space, tab, newline, backslash are octal there."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def escape(text: str) -> str:
    return re.sub(r"[\s\\]", lambda match: f"\\{ord(match[0]):03o}", text)


def _fields(line: str) -> list[str]:
    return [] if line.lstrip().startswith("#") else [unescape(field) for field in line.split()]


class Mount(Kind):
    """``path``, ``source``, ``fstype``, ``options`` (a list), ``present``."""

    def look(self, resource: Resource, system: System) -> State:
        text = decode(system.read(FSTAB))
        entries = [line for line in text.splitlines() if _mounts(line, resource["path"])]
        return {"fstab": text, "entries": entries, "mounted": mounted(system, resource["path"]), "device": _device(resource["source"], system)}  # fmt: skip

    def diff(self, resource: Resource, state: State) -> list[Change]:
        now, changes = state["mounted"], []
        if not resource["present"]:
            changes += [] if now is None else [Change("mount", now["source"], "unmounted")]
        elif now is None:
            if "noauto" not in resource["options"]:
                changes.append(Change("mount", "absent", resource["source"]))
        elif _other(resource, state):
            found = f"{now['source']} ({now['fstype']})"
            changes.append(Change("mount", found, f"{resource['source']} ({resource['fstype']})"))
        elif wrong := _wrong_flags(resource, now):
            changes.append(Change("options", ",".join(now["options"]), ",".join(wrong)))
        if [_fields(line) for line in state["entries"]] != [_fields(line) for line in _entry(resource)]:  # fmt: skip
            shall = "; ".join(_entry(resource)) or "removed"
            changes.append(Change(FSTAB, shown("; ".join(state["entries"])) or "absent", shall))
        return changes

    def texts(self, resource: Resource, state: State) -> list[Text]:
        after = _fstab(resource, state["fstab"])
        return [(FSTAB, shown(state["fstab"]), shown(after))] if after != state["fstab"] else []

    def places(self, resource: Resource, changes: Sequence[Change]) -> list[tuple[str, int]]:
        return [(FSTAB, 65536)]

    def apply(self, resource: Resource, system: System, contents: Contents) -> None:
        path, state = resource["path"], self.look(resource, system)
        changes = {change.what for change in self.diff(resource, state)}
        if "mount" in changes:
            if state["mounted"] is not None:
                system.check(["umount", path])
            if resource["present"]:
                system.make_directory(path)
                options = ",".join(_now(resource)) or "defaults"
                words = ["-t", resource["fstype"], "-o", options, resource["source"], path]
                system.check(["mount", *words])
        elif resource["present"] and state["mounted"] is not None and "bind" not in resource["options"]:  # fmt: skip
            options = ",".join(["remount", *_rw(resource)])
            system.check(["mount", "-o", options, path])
        rewrite(system, FSTAB, state["fstab"], _fstab(resource, state["fstab"]))
        system.units_changed = True


def mounted(system: System, path: str) -> dict[str, Any] | None:
    """The uppermost mount at ``path``: ``source``, ``fstype``, ``options`` (proc_pid_mountinfo(5))."""
    found = None
    for line in system.read_text("/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, tail = before.split(), after.split()
        if unescape(fields[4]) == path:
            options = sorted({*fields[5].split(","), *tail[2].split(",")[:1]} - {"rw"})
            found = {"source": unescape(tail[1]), "fstype": tail[0], "options": options}
    return found


def _mounts(line: str, path: str) -> bool:
    return _fields(line)[1:2] == [path]


def _entry(resource: Resource) -> list[str]:
    if not resource["present"]:
        return []
    options = ",".join(resource["options"]) or "defaults"
    fields = (resource["source"], resource["path"], resource["fstype"], options)
    return [" ".join([*map(escape, fields), "0", str(resource["check_order"])])]


def _fstab(resource: Resource, text: str) -> str:
    entry = _entry(resource)
    return put(text, entry[0] if entry else None, lambda line: _mounts(line, resource["path"]))


def _device(source: str, system: System) -> str | None:
    """The device that mountinfo shows for ``source``, ``None`` when that cannot be known."""
    tag, _, value = source.partition("=")
    if tag in _TAGS:
        link = system.path(f"/dev/disk/by-{_TAGS[tag]}/{value}")
        return os.path.realpath(link)[len(system.root) :] if os.path.exists(link) else None
    return os.path.realpath(system.path(source))[len(system.root) :] if source.startswith("/dev/") else source  # fmt: skip


def _other(resource: Resource, state: State) -> bool:
    """Whether something else is mounted there; a bind mount shows its file system's own source."""
    if "bind" in resource["options"] or "rbind" in resource["options"]:
        return False
    now, device = state["mounted"], state["device"]
    same_type = resource["fstype"] in ("auto", now["fstype"])
    return not same_type or device not in (None, now["source"])


def _wrong_flags(resource: Resource, now: dict[str, Any]) -> list[str]:
    wrong = [flag for flag in _FLAGS if flag in resource["options"] and flag not in now["options"]]
    # The kernel makes a file system read-only after an error of the disk.
    return [*wrong, "rw"] if "ro" in now["options"] and "ro" not in resource["options"] else wrong


def _now(resource: Resource) -> list[str]:
    """The options without those that are about the boot: with ``nofail`` a missing disk is no error."""
    return [
        option
        for option in resource["options"]
        if option not in _AT_BOOT and not option.startswith("x-")
    ]


def _rw(resource: Resource) -> list[str]:
    options = _now(resource)
    return options if "ro" in options else [*options, "rw"]


class Swap(Kind):
    """A swap file: ``path``, ``size`` (bytes; 0: none)."""

    def look(self, resource: Resource, system: System) -> State:
        path = resource["path"]
        found = system.lstat(path)
        text = decode(system.read(FSTAB))
        active = [unescape(line.split()[0]) for line in system.read_text("/proc/swaps").splitlines()[1:]]  # fmt: skip
        return {
            "size": found.st_size if found else 0,
            "ready": bool(found) and _is_swap(system.path(path)),
            "active": path in active,
            "fstab": text,
            "entries": [line for line in text.splitlines() if _swaps(line, path)],
        }

    def diff(self, resource: Resource, state: State) -> list[Change]:
        size, changes = resource["size"], []
        if state["size"] != size or (size and not state["ready"]):
            changes.append(Change("file", _bytes(state["size"]), _bytes(size)))
        if state["active"] != bool(size):
            words = {True: "on", False: "off"}
            changes.append(Change("swap", words[state["active"]], words[bool(size)]))
        if _swap_fstab(resource, state["fstab"]) != state["fstab"]:
            shall = "; ".join(_swap_entry(resource)) or "removed"
            changes.append(Change(FSTAB, shown("; ".join(state["entries"])) or "absent", shall))
        return changes

    def texts(self, resource: Resource, state: State) -> list[Text]:
        after = _swap_fstab(resource, state["fstab"])
        return [(FSTAB, shown(state["fstab"]), shown(after))] if after != state["fstab"] else []

    def places(self, resource: Resource, changes: Sequence[Change]) -> list[tuple[str, int]]:
        grows = any(change.what == "file" for change in changes)
        return [(resource["path"], resource["size"] if grows else 0), (FSTAB, 65536)]

    def apply(self, resource: Resource, system: System, contents: Contents) -> None:
        path, state = resource["path"], self.look(resource, system)
        changes = {change.what for change in self.diff(resource, state)}
        active = state["active"]
        if active and ("file" in changes or "swap" in changes):
            system.check(["swapoff", path], timeout=600)
            active = False
        if not resource["size"]:
            system.remove(path)
        elif "file" in changes:
            _make_swap_file(path, resource["size"], system)
        if resource["size"] and not active:
            system.check(["swapon", path])
        rewrite(system, FSTAB, state["fstab"], _swap_fstab(resource, state["fstab"]))
        system.units_changed = True


def _make_swap_file(path: str, size: int, system: System) -> None:
    """A file without holes and with a signature, there whole or not at all."""
    directory, name = os.path.split(path)
    system.make_directory(directory)
    temporary = f"{directory}/.{name}{TEMPORARY}swap"
    system.remove(temporary)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(system.path(temporary), flags, 0o600)
    try:
        os.posix_fallocate(fd, 0, size)
        os.fsync(fd)
    finally:
        os.close(fd)
    system.check(["mkswap", temporary])
    os.rename(system.path(temporary), system.path(path))
    sync_directory(system.path(directory))


def _is_swap(path: str) -> bool:
    """Whether mkswap(8)'s signature ends the first page, and nobody but root may read the file."""
    page = os.sysconf("SC_PAGE_SIZE")
    with open(path, "rb") as file:
        head = file.read(page)
        return head.endswith(_SIGNATURE) and not os.fstat(file.fileno()).st_mode & 0o077


def _swaps(line: str, path: str) -> bool:
    fields = _fields(line)
    return fields[:1] == [path] and fields[2:3] == ["swap"]


def _swap_entry(resource: Resource) -> list[str]:
    return [f"{escape(resource['path'])} none swap sw 0 0"] if resource["size"] else []


def _swap_fstab(resource: Resource, text: str) -> str:
    entry = _swap_entry(resource)
    return put(text, entry[0] if entry else None, lambda line: _swaps(line, resource["path"]))


def _bytes(size: int) -> str:
    return f"{size / (1 << 20):g} MiB" if size else "absent"
