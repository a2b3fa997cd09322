"""Users, groups and the keys that users log in with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from toolkit.errors import UsageError
from toolkit.resources.base import Content, Resource
from toolkit.secrets.key import digest_key
from toolkit.secrets.secret import Secret

_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_HASH = re.compile(r"\$(?:y|gy|7|6|5|2[aby])\$[./A-Za-z0-9$=,-]{8,200}")
"""crypt(5)'s methods that are not broken."""
_KEY = re.compile(r"(?:^|\s)((?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[\w@.-]+)\s+(AAAA[\w+/=]+)(?:\s|$)")


def _check_names(*names: str | None) -> None:
    for name in names:
        if name is not None and not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} is not a name for a user or group", hint="lower-case letters, digits, - and _, at most 32")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Group(Resource):
    """A group; ``system`` gives a new one a number of those for services."""

    kind = "group"
    group: str
    gid: int | None = None
    system: bool = False
    present: bool = True

    def __post_init__(self) -> None:
        _check_names(self.group)

    @property
    def name(self) -> str:
        return self.group

    def wanted(self) -> dict[str, Any]:
        return {
            "group": self.group,
            "gid": self.gid,
            "system": self.system,
            "present": self.present,
        }


@dataclass(frozen=True, kw_only=True)
class User(Resource):
    """A user; what is ``None`` stays as it is, ``groups`` are joined and others not left.

    A new user has no password. A removed one leaves the home directory. ``password``: the hash that
    shadow(5) gets, as ``mkpasswd`` prints it; the password itself is refused.
    """

    kind = "user"
    user: str
    uid: int | None = None
    group: str | None = None
    groups: tuple[str, ...] = ()
    home: str | None = None
    shell: str | None = None
    comment: str | None = None
    system: bool = False
    create_home: bool = True
    present: bool = True
    password: Secret | None = None

    def __post_init__(self) -> None:
        _check_names(self.user, self.group, *self.groups)
        if self.password is not None and not isinstance(self.password, Secret):
            raise UsageError(f"User {self.user}: the password's hash is a secret, not text")
        for text in (self.home, self.shell, self.comment):
            if text is not None and (":" in text or "\n" in text):
                raise UsageError(f"User {self.user}: {text!r} cannot stand in /etc/passwd")

    @property
    def name(self) -> str:
        return self.user

    @property
    def contents(self) -> tuple[Content, ...]:
        if self.password is None or not self.present:
            return ()
        if not _HASH.fullmatch(self.password.text()):
            raise UsageError(f"User {self.user}: {self.password.where} is not the hash of a password", hint="mkpasswd (Debian's whois) makes one")  # fmt: skip
        return (Content(self.password, digest_key(f"password of {self.user}")),)

    def wanted(self) -> dict[str, Any]:
        content = next(iter(self.contents), None)
        return {
            "user": self.user,
            "uid": self.uid,
            "group": self.group,
            "groups": self.groups,
            "home": self.home,
            "shell": self.shell,
            "comment": self.comment,
            "system": self.system,
            "create_home": self.create_home,
            "present": self.present,
            "password": content.wire() if content else None,
        }


@dataclass(frozen=True, kw_only=True)
class AuthorizedKey(Resource):
    """A public key that ``user`` may log in with: a line of authorized_keys, options included."""

    kind = "authorized_key"
    user: str
    key: str
    present: bool = True

    def __post_init__(self) -> None:
        _check_names(self.user)
        if "\n" in self.key.strip() or not _KEY.search(self.key):
            raise UsageError(f"AuthorizedKey for {self.user}: not a line of a public key", hint="as in ~/.ssh/id_ed25519.pub")  # fmt: skip

    @property
    def _blob(self) -> str:
        found = _KEY.search(self.key)
        assert found is not None
        return found[2]

    @property
    def name(self) -> str:
        return f"{self.user} ...{self._blob[-12:]}"

    def wanted(self) -> dict[str, Any]:
        return {
            "user": self.user,
            "key": self.key.strip(),
            "blob": self._blob,
            "present": self.present,
        }
