"""Users and groups of a Debian root, written without running anything in it.

``base-passwd`` has the fixed ones; packages declare theirs in sysusers.d(5). Packages of Debian 12 that
still call ``adduser`` are covered by lines of our own. Numbers that nobody fixed go down from 999, as
systemd-sysusers gives them.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.boards import recipe

# What maintainer scripts of Debian 12 make with adduser(8), as sysusers.d lines.
_BY_SCRIPT = """\
u _apt 42:65534 - /nonexistent
u messagebus - "System Message Bus" /nonexistent
u sshd -:65534 "sshd user" /run/sshd
g _ssh -
g systemd-journal -
u systemd-network - "systemd Network Management"
"""

_GROUPS_OF_USER = ("sudo", "adm", "users")


@dataclass(slots=True)
class Accounts:
    """The account files of one root, in the order of their lines."""

    users: dict[str, list[str]] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)

    def uid(self, name: str) -> int:
        return int(self.users[name][2])

    def gid(self, name: str) -> int:
        return int(self.groups[name][2])

    def add_group(self, name: str, number: str = "-") -> None:
        if name not in self.groups:
            self.groups[name] = [name, "x", str(self._free(number, self.groups)), ""]

    def add_user(self, name: str, number: str, gecos: str, home: str, shell: str) -> None:
        if name in self.users:
            return
        uid, _, group = number.partition(":")
        # A group of the user's own has the user's number: it must be free as both.
        uid = str(self._free(uid, self.users, () if group else self.groups))
        if not group:
            self.add_group(name, uid)
            group = self.groups[name][2]
        elif not group.isdigit():
            group = self.groups[group][2]
        self.users[name] = [name, "x", uid, group, gecos, home, shell]

    def join(self, user: str, group: str) -> None:
        members = self.groups[group][3]
        self.groups[group][3] = f"{members},{user}" if members else user

    def _free(self, number: str, *taken: dict[str, list[str]] | tuple[()]) -> int:
        if number.isdigit():
            return int(number)
        used = {int(entry[2]) for table in taken if table for entry in table.values()}
        return next(candidate for candidate in range(999, 0, -1) if candidate not in used)

    def write(self, etc: Path, days: int) -> None:
        """Write passwd, group, shadow and gshadow; no password is set. ``days`` is today since 1970."""
        _write(etc / "passwd", [":".join(entry) for entry in self.users.values()], 0o644)
        _write(etc / "group", [":".join(entry) for entry in self.groups.values()], 0o644)
        _write(etc / "shadow", [f"{name}:*:{days}:0:99999:7:::" for name in self.users], 0o640)
        gshadow = [f"{name}:*::{entry[3]}" for name, entry in self.groups.items()]
        _write(etc / "gshadow", gshadow, 0o640)


def collect(root: Path) -> Accounts:
    """The accounts that the unpacked packages of ``root`` want, with the user ``pi``."""
    accounts = Accounts()
    masters = root / "usr/share/base-passwd"
    for line in (masters / "group.master").read_text().splitlines():
        name, _, gid, members = line.split(":")
        accounts.groups[name] = [name, "x", gid, members]
    for line in (masters / "passwd.master").read_text().splitlines():
        name, _, *rest = line.split(":")
        accounts.users[name] = [name, "x", *rest]
    accounts.add_group(recipe.USER, str(recipe.UID))
    for config in sorted((root / "usr/lib/sysusers.d").glob("*.conf")):
        apply_sysusers(accounts, config.read_text())
    apply_sysusers(accounts, _BY_SCRIPT)
    home = f"/home/{recipe.USER}"
    accounts.add_user(recipe.USER, f"{recipe.UID}:{recipe.UID}", "", home, "/bin/bash")
    for group in _GROUPS_OF_USER:
        accounts.join(recipe.USER, group)
    return accounts


def apply_sysusers(accounts: Accounts, text: str) -> None:
    """Enter the lines of a sysusers.d(5) file: kinds u, g and m; specifiers and ranges are not used here."""
    lines = [shlex.split(line, comments=True) for line in text.splitlines()]
    for kind, name, *rest in filter(None, lines):
        number, gecos, home, shell = [*rest, *["-"] * 4][:4]
        if kind == "g":
            accounts.add_group(name, number)
        elif kind in ("u", "u!"):
            plain = [re.sub(r"^-$", default, word) for word, default in ((gecos, ""), (home, "/"), (shell, "/usr/sbin/nologin"))]  # fmt: skip
            accounts.add_user(name, number, *plain)
        elif kind == "m":
            accounts.join(name, number)


def _write(path: Path, lines: list[str], mode: int) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))
    path.chmod(mode)
