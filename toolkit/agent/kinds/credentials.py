"""Credentials of services (systemd.exec(5), CREDENTIALS): a file that one unit sees while it runs.

Where the board has systemd-creds (systemd 250) the value lies encrypted with the board's own key in
/etc/credstore.encrypted and is there after a reboot. An older systemd (from 247 on) reads it from /run,
where it is gone after a reboot: the unit then waits until the board is provisioned again.
"""

from __future__ import annotations

import os

from toolkit.agent.contents import hasher
from toolkit.agent.errors import AgentError
from toolkit.agent.feed import feed
from toolkit.agent.kinds.base import Change, Kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.agent.kinds.base import Contents, Resource, State
    from toolkit.agent.system import System

_ENCRYPTED = "/etc/credstore.encrypted"
_PLAIN = "/run/pinnace-credentials"
_UNITS = "/etc/systemd/system"
_OLDEST = 247


class Credential(Kind):
    """``unit``, ``credential`` (its name), ``digest``, ``size``, ``key``."""

    def look(self, resource: Resource, system: System) -> State:
        encrypted = system.lstat("/usr/bin/systemd-creds") is not None
        dropin = _dropin(resource, encrypted)
        return {
            "encrypted": encrypted,
            "digest": _digest(resource, system, encrypted),
            "dropin": system.read_text(_path(resource)) == dropin,
        }

    def diff(self, resource: Resource, state: State) -> list[Change]:
        changes = []
        if state["digest"] != resource["digest"]:
            before = "absent" if state["digest"] is None else "differs"
            changes.append(Change("content", before, "encrypted" if state["encrypted"] else "in /run"))  # fmt: skip
        if not state["dropin"]:
            changes.append(Change(_path(resource), "differs", "written"))
        return changes

    def wants(self, resource: Resource, changes: Sequence[Change]) -> list[tuple[str, int]]:
        if any(change.what == "content" for change in changes):
            return [(resource["digest"], resource["size"])]
        return []

    def places(self, resource: Resource, changes: Sequence[Change]) -> list[tuple[str, int]]:
        return [(_path(resource), 4096), (_store(resource, True), 2 * resource["size"] + 4096)]

    def apply(self, resource: Resource, system: System, contents: Contents) -> None:
        state = self.look(resource, system)
        if not state["encrypted"]:
            _check_version(system)
        if state["digest"] != resource["digest"]:
            value = b"".join(contents(resource["digest"]))
            place = _store(resource, state["encrypted"])
            if state["encrypted"]:
                value = feed(["systemd-creds", "encrypt", f"--name={resource['credential']}", "-", "-"], value)  # fmt: skip
            system.make_directory(os.path.dirname(place), 0o700)
            system.write(place, iter((value,)), 0o600, os.getuid(), os.getgid())
        text = _dropin(resource, state["encrypted"]).encode()
        system.write(_path(resource), iter((text,)), 0o644, os.getuid(), os.getgid())
        system.units_changed = True


def _path(resource: Resource) -> str:
    return f"{_UNITS}/{resource['unit']}.d/50-credential-{resource['credential']}.conf"


def _store(resource: Resource, encrypted: bool) -> str:
    base = _ENCRYPTED if encrypted else _PLAIN
    return f"{base}/{resource['unit']}/{resource['credential']}"


def _dropin(resource: Resource, encrypted: bool) -> str:
    place, name = _store(resource, encrypted), resource["credential"]
    if encrypted:
        return f"[Service]\nLoadCredentialEncrypted={name}:{place}\n"
    # Without its credential the unit would fail, and be started again and again.
    return f"[Unit]\nConditionPathExists={place}\n\n[Service]\nLoadCredential={name}:{place}\n"


def _digest(resource: Resource, system: System, encrypted: bool) -> str | None:
    """The digest of the value on the board, ``None`` where there is none that can be read."""
    found = system.read(_store(resource, encrypted))
    if found is None:
        return None
    if encrypted:
        try:
            name = f"--name={resource['credential']}"
            found = feed(["systemd-creds", "decrypt", name, "-", "-"], found)
        except AgentError:
            return ""  # of another board's key, or damaged
    state = hasher(resource["key"])
    state.update(found)
    return str(state.hexdigest())


def _check_version(system: System) -> None:
    words = system.check(["systemctl", "--version"]).split()
    version = int("".join(filter(str.isdecimal, words[1])) or 0) if len(words) > 1 else 0
    if version < _OLDEST:
        raise AgentError(f"systemd {version} has no credentials", f"it has from {_OLDEST} on; use a secret File in /run")  # fmt: skip
