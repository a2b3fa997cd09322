"""Users, groups, and the keys that users log in with."""

from __future__ import annotations

import os
import stat

from toolkit.agent.contents import hasher
from toolkit.agent.errors import AgentError
from toolkit.agent.kinds.base import Change, Kind
from toolkit.agent.kinds.lines import decode, encode, put, shown
from toolkit.agent.system import TEMPORARY, sync_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.agent.kinds.base import Contents, Resource, State, Text
    from toolkit.agent.system import System

_HOME_MODE = 0o700
_LARGEST_KEYS = 1 << 20
"""Bytes of an authorized_keys file that is read; the user decides how large it is."""


def _table(system: System, path: str) -> dict[str, list[str]]:
    """passwd(5) or group(5) by name."""
    rows = [line.split(":") for line in system.read_text(path).splitlines() if ":" in line]
    return {row[0]: row for row in rows}


class Group(Kind):
    """``group``, ``gid`` (or ``None``), ``system``, ``present``."""

    def look(self, resource: Resource, system: System) -> State:
        row = _table(system, "/etc/group").get(resource["group"])
        return {"gid": int(row[2]) if row else None}

    def diff(self, resource: Resource, state: State) -> list[Change]:
        gid, wanted = state["gid"], resource["gid"]
        if not resource["present"]:
            return [] if gid is None else [Change("group", "present", "removed")]
        if gid is None:
            return [Change("group", "absent", "created")]
        return [Change("gid", str(gid), str(wanted))] if wanted not in (None, gid) else []

    def places(self, resource: Resource, changes: Sequence[Change]) -> list[tuple[str, int]]:
        return [("/etc/group", 65536)]

    def apply(self, resource: Resource, system: System, contents: Contents) -> None:
        name = resource["group"]
        number = [] if resource["gid"] is None else ["-g", str(resource["gid"])]
        for change in self.diff(resource, self.look(resource, system)):
            if change.after == "removed":
                system.check(["groupdel", name])
            elif change.what == "gid":
                system.check(["groupmod", *number, name])
            else:
                kind = ["-r"] if resource["system"] else []
                system.check(["groupadd", *kind, *number, name])


class User(Kind):
    """``user``, ``uid``, ``group``, ``groups``, ``home``, ``shell``, ``comment``, ``system``, ``present``, ``password``.

    What is ``None`` is left as it is; ``groups`` are joined, others are not left. A new user has no
    password. A removed one leaves the home directory. ``password``: digest, size and key of a hash as
    shadow(5) has it, or ``None``.
    """

    def wants(self, resource: Resource, changes: Sequence[Change]) -> list[tuple[str, int]]:
        password = resource.get("password")
        new = any(change.what == "password" or change.after == "created" for change in changes)
        return [(password["digest"], password["size"])] if password and new else []

    def look(self, resource: Resource, system: System) -> State:
        groups = _table(system, "/etc/group")
        row = _table(system, "/etc/passwd").get(resource["user"])
        if row is None:
            return {"exists": False, "own_group": resource["user"] in groups}
        primary = next((name for name, group in groups.items() if group[2] == row[3]), row[3])
        joined = [name for name, group in groups.items() if row[0] in group[3].split(",")]
        return {
            "exists": True,
            "uid": row[2],
            "gid": row[3],
            "group": primary,
            "comment": row[4],
            "home": row[5],
            "shell": row[6],
            "groups": [*joined, primary],
            "home_exists": system.lstat(row[5]) is not None,
            "password": _password_digest(resource, system),
        }

    def diff(self, resource: Resource, state: State) -> list[Change]:
        if not resource["present"]:
            return [Change("user", "present", "removed")] if state["exists"] else []
        if not state["exists"]:
            return [Change("user", "absent", "created")]
        changes = [
            Change(name, state[name], str(resource[name]))
            for name in _FLAGS
            if resource[name] is not None and state[name] != str(resource[name])
        ]
        missing = [group for group in resource["groups"] if group not in state["groups"]]
        changes += [Change("groups", "absent", group) for group in missing]
        if resource["create_home"] and not state["home_exists"]:
            changes.append(Change("home directory", "absent", resource["home"] or state["home"]))
        password = resource.get("password")
        if password and state["password"] != password["digest"]:
            changes.append(Change("password", "differs", "set"))
        return changes

    def places(self, resource: Resource, changes: Sequence[Change]) -> list[tuple[str, int]]:
        return [("/etc/passwd", 65536), (f"{resource['home'] or '/home/x'}", 65536)]

    def apply(self, resource: Resource, system: System, contents: Contents) -> None:
        name = resource["user"]
        state = self.look(resource, system)
        if not resource["present"]:
            if state["exists"]:
                system.check(["userdel", name])
            return
        if not state["exists"]:
            system.check(["useradd", "-M", *_creation(resource, state), name])
            state = self.look(resource, system)
        joining = []
        for change in self.diff(resource, state):
            if change.what == "groups":
                joining.append(change.after)
            elif change.what == "password":
                _set_password(resource, contents)
            elif change.what in _FLAGS:
                system.check(["usermod", _FLAGS[change.what], change.after, name])
        if joining:
            system.check(["usermod", "-a", "-G", ",".join(joining), name])
        if resource["create_home"]:
            self._home(self.look(resource, system), system)

    @staticmethod
    def _home(state: State, system: System) -> None:
        """The home directory with what /etc/skel has, there whole or not at all."""
        if state["home_exists"]:
            return
        import shutil

        parent, name = os.path.split(state["home"].rstrip("/"))
        system.make_directory(parent)
        temporary = system.path(f"{parent}/.{name}{TEMPORARY}home")
        shutil.rmtree(temporary, ignore_errors=True)
        if os.path.isdir(system.path("/etc/skel")):
            shutil.copytree(system.path("/etc/skel"), temporary, symlinks=True)
        else:
            os.mkdir(temporary)
        uid, gid = int(state["uid"]), int(state["gid"])
        for directory, _, files in os.walk(temporary):
            for path in (directory, *(os.path.join(directory, file) for file in files)):
                os.lchown(path, uid, gid)
        os.chmod(temporary, _HOME_MODE)
        os.rename(temporary, system.path(state["home"].rstrip("/")))
        sync_directory(system.path(parent))


def _password_digest(resource: Resource, system: System) -> str | None:
    """The digest of the password's hash, where one is wanted: it is compared, and never sent."""
    password = resource.get("password")
    if not password:
        return None
    row = _table(system, "/etc/shadow").get(resource["user"], ["", ""])
    state = hasher(password["key"])
    state.update(row[1].encode())
    return str(state.hexdigest())


def _set_password(resource: Resource, contents: Contents) -> None:
    from toolkit.agent.feed import feed

    value = b"".join(contents(resource["password"]["digest"]))
    # A hash in usermod's arguments would be in the process list.
    feed(["chpasswd", "--encrypted"], resource["user"].encode() + b":" + value + b"\n")


_FLAGS = {"uid": "-u", "group": "-g", "comment": "-c", "home": "-d", "shell": "-s"}
"""Attributes of a user, and usermod's flag for each."""


def _creation(resource: Resource, state: State) -> list[str]:
    flags = ["-r"] if resource["system"] else []
    for name, flag in _FLAGS.items():
        if resource[name] is not None:
            flags += [flag, str(resource[name])]
    if resource["group"] is None:
        flags += ["-g", resource["user"]] if state["own_group"] else ["-U"]
    return flags


class AuthorizedKey(Kind):
    """``user``, ``key`` (a line of sshd(8)'s AUTHORIZED_KEYS FILE FORMAT), ``blob``, ``present``.

    The file is in a directory that the user controls, so it is read and written with the user's rights.
    """

    def look(self, resource: Resource, system: System) -> State:
        row = _table(system, "/etc/passwd").get(resource["user"])
        if row is None:
            return {"text": "", "home": None}
        state: State = {"uid": int(row[2]), "gid": int(row[3]), "home": row[5]}
        path = _keys(state)
        with system.acting_as(state["uid"], state["gid"]):
            try:
                size = os.stat(system.path(path)).st_size
                if size > _LARGEST_KEYS:
                    raise AgentError(f"{path} is too large: {size} bytes", "move it away")
                state["text"] = decode(system.read(path))
                modes = [system.lstat(place) for place in (os.path.dirname(path), path)]
            except FileNotFoundError:
                return {**state, "text": "", "modes": []}
            except PermissionError:
                raise AgentError(f"{resource['user']} cannot read {path}", "look where it leads") from None  # fmt: skip
        return {**state, "modes": [f"{stat.S_IMODE(found.st_mode):04o}" for found in modes if found]}  # fmt: skip

    def diff(self, resource: Resource, state: State) -> list[Change]:
        if state["home"] is None:
            # A resource before this one may make the user.
            return [Change("key", "absent", "added")] if resource["present"] else []
        found = [line for line in state["text"].splitlines() if resource["blob"] in line.split()]
        if not resource["present"]:
            return [Change("key", "present", "removed")] if found else []
        if found != [resource["key"]]:
            return [Change("key", shown("; ".join(found)) or "absent", "added")]
        # sshd ignores keys in files that others may write to.
        return [Change("mode", " ".join(state["modes"]), "0700 0600")] if _open(state) else []

    def texts(self, resource: Resource, state: State) -> list[Text]:
        if state["home"] is None:
            return []
        return [(_keys(state), shown(state["text"]), shown(_edited(resource, state["text"])))]

    def apply(self, resource: Resource, system: System, contents: Contents) -> None:
        state = self.look(resource, system)
        if state["home"] is None:
            raise AgentError(f"there is no user {resource['user']}", "declare a User before it")
        if system.lstat(state["home"]) is None:
            raise AgentError(f"{resource['user']} has no home directory", f"make {state['home']}")
        path = _keys(state)
        with system.acting_as(state["uid"], state["gid"]):
            system.make_directory(os.path.dirname(path), 0o700)
            if _open(state):
                for place, mode in ((os.path.dirname(path), 0o700), (path, 0o600)):
                    system.changing(place)
                    os.chmod(system.path(place), mode)
            after = _edited(resource, state["text"])
            if after != state["text"]:
                data = iter((encode(after),))
                system.write(path, data, 0o600, state["uid"], state["gid"])


def _keys(state: State) -> str:
    return f"{state['home'].rstrip('/')}/.ssh/authorized_keys"


def _open(state: State) -> bool:
    return any(int(mode, 8) & 0o022 for mode in state.get("modes", ()))


def _edited(resource: Resource, text: str) -> str:
    line = resource["key"] if resource["present"] else None
    return put(text, line, lambda found: resource["blob"] in found.split())
