"""Keys of this machine for digests of secrets: a digest alone would tell who tries passwords which is right."""

from __future__ import annotations

import hashlib
import os
import secrets
from functools import cache

from toolkit.paths import state_dir

_BYTES = 32


def digest_key(purpose: str) -> str:
    """The key for ``purpose`` (a path on boards, say), in hexadecimal; the same in every run of this machine."""
    return hashlib.blake2b(purpose.encode(), key=_own(str(state_dir("secrets"))), digest_size=_BYTES).hexdigest()  # fmt: skip


@cache
def _own(directory: str) -> bytes:
    """This machine's key, made where there is none: whole or not at all, by whoever is first."""
    path = f"{directory}/key"
    if not os.path.exists(path):
        temporary = f"{path}-{os.getpid()}-{secrets.token_hex(4)}"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, secrets.token_bytes(_BYTES))
            os.fsync(fd)
            os.link(temporary, path)
        except FileExistsError:
            pass
        finally:
            os.close(fd)
            os.unlink(temporary)
    with open(path, "rb") as file:
        found = file.read()
    if len(found) != _BYTES:
        os.unlink(path)  # another file system than ours may have cut it off
        return _own.__wrapped__(directory)
    return found
