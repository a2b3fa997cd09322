"""Who a board is: its name, machine id and SSH keys, all known to the laptop before the first start."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from toolkit.boards import recipe
from toolkit.paths import give_to_user
from toolkit.process import run


def client_key(state: Path) -> Path:
    """The laptop's key for all boards whose state is in ``state``; made when first asked for."""
    path = state / "id_ed25519"
    if not path.exists():
        with (state / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                make_key(path, "pinnace-boards")
                give_to_user(path)
    return path


def make_key(path: Path, comment: str) -> None:
    """Make an Ed25519 key pair at ``path`` and ``path``.pub, without a passphrase."""
    run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path],
        "making an SSH key",
    )


def public_key(path: Path) -> str:
    """The public half of the key at ``path``: type and base64, without the comment."""
    return " ".join(path.with_name(f"{path.name}.pub").read_text().split()[:2])


def install(
    upper: Path,
    *,
    name: str,
    machine_id: str,
    host_key: Path,
    login_key: str,
    hosts: Mapping[str, str],
) -> None:
    """Write the board's identity into ``upper``, the writable layer of its disk.

    Every directory made here covers the root's own, so each has the mode and owner it has there.
    """
    _directory(upper / "etc")
    (upper / "etc/hostname").write_text(f"{name}\n")
    (upper / "etc/machine-id").write_text(f"{machine_id}\n")
    entries = {
        "127.0.0.1": "localhost",
        "127.0.1.1": name,
        "::1": "localhost ip6-localhost",
        **hosts,
    }
    (upper / "etc/hosts").write_text("".join(f"{ip}\t{names}\n" for ip, names in entries.items()))
    _directory(upper / "etc/ssh")
    target = upper / "etc/ssh/ssh_host_ed25519_key"
    shutil.copy(host_key, target)
    target.chmod(0o600)
    shutil.copy(host_key.with_name(f"{host_key.name}.pub"), target.with_name(f"{target.name}.pub"))
    _directory(upper / "home")
    home = upper / "home" / recipe.USER
    _directory(home, 0o700, recipe.UID)
    _directory(home / ".ssh", 0o700, recipe.UID)
    keys = home / ".ssh/authorized_keys"
    keys.write_text(f"{login_key}\n")
    keys.chmod(0o600)
    os.chown(keys, recipe.UID, recipe.UID)


def _directory(path: Path, mode: int = 0o755, owner: int = 0) -> None:
    path.mkdir()
    path.chmod(mode)
    os.chown(path, owner, owner)
