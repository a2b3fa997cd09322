"""Files, directories and links."""

from __future__ import annotations

import grp
import os
import pwd
import stat

from toolkit.agent.contents import hasher
from toolkit.agent.errors import AgentError
from toolkit.agent.kinds.base import Change, Kind, compare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.agent.kinds.base import Contents, Resource, State, Text
    from toolkit.agent.system import System

_DIFFABLE = 256 * 1024
"""Larger files (bytes) are not sent back for a diff."""
_UNIT_DIRECTORIES = ("/etc/systemd/system/", "/usr/local/lib/systemd/system/")


def ids(owner: str, group: str) -> tuple[int, int]:
    """User and group as numbers; raises :class:`AgentError` for one that does not exist."""
    try:
        return pwd.getpwnam(owner).pw_uid, grp.getgrnam(group).gr_gid
    except KeyError as problem:
        raise AgentError(f"no such user or group: {problem.args[0]}") from None


def _names(found: os.stat_result) -> tuple[str, str]:
    try:
        owner = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        owner = str(found.st_uid)
    try:
        return owner, grp.getgrgid(found.st_gid).gr_name
    except KeyError:
        return owner, str(found.st_gid)


def _type(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    return "link" if stat.S_ISLNK(mode) else "special file"


def _attributes(path: str, system: System) -> State:
    found = system.lstat(path)
    if found is None:
        return {"type": "absent"}
    owner, group = _names(found)
    mode = f"{stat.S_IMODE(found.st_mode):04o}"
    return {"type": _type(found.st_mode), "mode": mode, "owner": owner, "group": group}


class File(Kind):
    """``path``, ``mode`` (octal text), ``owner``, ``group``, ``digest``, ``size``, ``key`` (of a secret's digest)."""

    def look(self, resource: Resource, system: System) -> State:
        path = resource["path"]
        state = _attributes(path, system)
        if state["type"] == "file":
            found = os.stat(system.path(path))
            content = system.read(path) if found.st_size <= _DIFFABLE else None
            if content is not None:
                state["text"] = content
            if found.st_size == resource["size"]:
                state["digest"] = _digest(system.path(path), content, resource.get("key", ""))
        return state

    def diff(self, resource: Resource, state: State) -> list[Change]:
        if state["type"] == "absent":
            return [Change("file", "absent", "created")]
        if state["type"] in ("directory", "special file"):
            raise AgentError(f"{resource['path']} is a {state['type']}, not a file", "move it away")
        if state["type"] == "link":
            return [Change("content", "a symbolic link", "replaced by a file")]
        changes = []
        if state.get("digest") != resource["digest"]:
            changes.append(Change("content", "differs", "replaced"))
        wanted = {name: resource[name] for name in ("mode", "owner", "group")}
        return changes + compare(wanted, state)

    def texts(self, resource: Resource, state: State) -> list[Text]:
        if resource.get("secret") or state.get("digest") == resource["digest"]:
            return []
        text = state.get("text")
        return [(resource["path"], None if text is None else text.decode("utf-8", "replace"), None)]

    def wants(self, resource: Resource, changes: Sequence[Change]) -> list[tuple[str, int]]:
        if any(change.what in ("file", "content") for change in changes):
            return [(resource["digest"], resource["size"])]
        return []

    def places(self, resource: Resource, changes: Sequence[Change]) -> list[tuple[str, int]]:
        return [(resource["path"], resource["size"])]

    def apply(self, resource: Resource, system: System, contents: Contents) -> None:
        path, mode = resource["path"], int(resource["mode"], 8)
        uid, gid = ids(resource["owner"], resource["group"])
        if self.wants(resource, self.diff(resource, self.look(resource, system))):
            system.write(path, contents(resource["digest"]), mode, uid, gid)
        else:
            system.changing(path)
            os.chown(system.path(path), uid, gid)
            os.chmod(system.path(path), mode)
        system.units_changed |= path.startswith(_UNIT_DIRECTORIES)


def _digest(path: str, content: bytes | None, key: str) -> str:
    state = hasher(key)
    if content is not None:
        state.update(content)
        return str(state.hexdigest())
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(1 << 18), b""):
            state.update(chunk)
    return str(state.hexdigest())


class Directory(Kind):
    """``path``, ``mode`` (octal text), ``owner``, ``group``."""

    def look(self, resource: Resource, system: System) -> State:
        return _attributes(resource["path"], system)

    def diff(self, resource: Resource, state: State) -> list[Change]:
        if state["type"] == "absent":
            return [Change("directory", "absent", "created")]
        if state["type"] != "directory":
            raise AgentError(f"{resource['path']} is a {state['type']}, not a directory", "move it away")  # fmt: skip
        return compare({name: resource[name] for name in ("mode", "owner", "group")}, state)

    def places(self, resource: Resource, changes: Sequence[Change]) -> list[tuple[str, int]]:
        return [(resource["path"], 4096)]

    def apply(self, resource: Resource, system: System, contents: Contents) -> None:
        uid, gid = ids(resource["owner"], resource["group"])
        system.make_directory(resource["path"], int(resource["mode"], 8))
        system.changing(resource["path"])
        os.chown(system.path(resource["path"]), uid, gid)
        os.chmod(system.path(resource["path"]), int(resource["mode"], 8))


class Link(Kind):
    """``path`` points at ``target``. What is not a link is in the way and never replaced."""

    def look(self, resource: Resource, system: System) -> State:
        state = _attributes(resource["path"], system)
        if state["type"] == "link":
            state["target"] = os.readlink(system.path(resource["path"]))
        return state

    def diff(self, resource: Resource, state: State) -> list[Change]:
        if state["type"] not in ("absent", "link"):
            raise AgentError(f"{resource['path']} is a {state['type']} of something else", "remove or rename it")  # fmt: skip
        if state.get("target") == resource["target"]:
            return []
        return [Change("link", state.get("target", "absent"), resource["target"])]

    def places(self, resource: Resource, changes: Sequence[Change]) -> list[tuple[str, int]]:
        return [(resource["path"], 256)]

    def apply(self, resource: Resource, system: System, contents: Contents) -> None:
        system.symlink(resource["path"], resource["target"])
