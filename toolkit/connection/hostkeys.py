"""Host keys: a known one must match, an unknown one needs somebody's word.

Known are the keys in ``~/.ssh/known_hosts``, in the toolkit's own ``known_hosts`` (where accepted ones
are added), and those handed in (emulated boards, whose keys this machine made).
"""

from __future__ import annotations

import base64
import hashlib
import os
import sys
import threading
from pathlib import Path

import paramiko
from paramiko.hostkeys import HostKeyEntry, InvalidHostKey

from toolkit import console
from toolkit.errors import HostUnreachable
from toolkit.paths import state_dir

_asking = threading.Lock()


def fingerprint(key: paramiko.PKey) -> str:
    """``ssh-keygen -l``'s form: ``ED25519 SHA256:...``."""
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).rstrip(b"=").decode()
    kind = key.get_name().removeprefix("ssh-").removeprefix("ecdsa-sha2-")
    return f"{kind.upper()} SHA256:{digest}"


class KnownHosts:
    """The keys that count for one run; ``accept_new`` takes unknown ones without asking."""

    def __init__(
        self, *, accept_new: bool = False, path: Path | None = None, user: Path | None = None
    ) -> None:
        self.accept_new = accept_new
        self.path = path or state_dir() / "known_hosts"
        self._user = user or Path("~/.ssh/known_hosts").expanduser()
        self._given: list[str] = []

    def give(self, line: str) -> None:
        """Add a line in known_hosts form for this run only."""
        self._given.append(line)

    def keys_of(self, name: str) -> list[str]:
        """Type and key of the keys that are known for ``name`` (``[host]:port`` for another port than 22)."""
        client = paramiko.SSHClient()
        self.load(client)
        found = client.get_host_keys().lookup(name)
        return [f"{key.get_name()} {key.get_base64()}" for key in found.values()] if found else []

    def load(self, client: paramiko.SSHClient) -> None:
        """Make ``client`` strict with these keys."""
        keys = client.get_host_keys()
        for line in [*_lines(self._user), *_lines(self.path), *self._given]:
            # A line with a marker names no key to trust, and paramiko takes the marker for a name.
            entry = None if line.startswith("@") else _entry(line)
            if entry is not None and entry.key is not None:
                for name in entry.hostnames or []:
                    keys.add(name, entry.key.get_name(), entry.key)
        client.set_missing_host_key_policy(_Policy(self))

    def check(self, name: str, key: paramiko.PKey) -> None:
        """Raise :class:`HostUnreachable` for a key that somebody marked as revoked.

        For whichever hosts it was revoked: such a key is in the wrong hands.
        """
        for path in (self._user, self.path):
            revoked = (line.split() for line in _lines(path) if line.startswith("@revoked"))
            if any(key.get_base64() in words for words in revoked):
                raise HostUnreachable(f"the host key of {name} is revoked: {fingerprint(key)} ({path})", hint="somebody else may be in between")  # fmt: skip

    def decide(self, name: str, key: paramiko.PKey) -> None:
        """Add an unknown key or raise :class:`HostUnreachable`."""
        self.check(name, key)
        with _asking:
            if not self.accept_new and not _ask(name, key):
                raise HostUnreachable(
                    f"the host key of {name} is not known: {fingerprint(key)}",
                    hint="compare it with `ssh-keygen -lf` on the board, then use --accept-new",
                )
            self._add(name, key)
            console.note(f"host key of {name} accepted: {fingerprint(key)}")

    def _add(self, name: str, key: paramiko.PKey) -> None:
        line = f"{name} {key.get_name()} {key.get_base64()}\n"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(self.path, flags, 0o600)
        try:
            os.write(fd, line.encode())
            os.fsync(fd)
        finally:
            os.close(fd)


def _lines(path: Path) -> list[str]:
    """The lines of a known_hosts file, none where there is no file."""
    return path.read_text(errors="replace").splitlines() if path.is_file() else []


def _entry(line: str) -> HostKeyEntry | None:
    """A line's names and key; a damaged line stands for nothing, as with OpenSSH."""
    try:
        return HostKeyEntry.from_line(line)
    except (InvalidHostKey, paramiko.SSHException):
        return None


class _Policy(paramiko.MissingHostKeyPolicy):
    def __init__(self, known: KnownHosts) -> None:
        self._known = known

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:  # fmt: skip
        self._known.decide(hostname, key)


def _ask(name: str, key: paramiko.PKey) -> bool:
    if not (sys.stdin.isatty() and console.err.is_terminal):
        return False
    with console.asking():
        console.note(f"{name} is not known yet. Its key: {fingerprint(key)}")
        return console.err.input(
            "Is that the board's key? [y/N] ", markup=False
        ).strip().lower() in (
            "y",
            "yes",
        )
