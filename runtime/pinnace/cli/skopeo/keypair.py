"""``skopeo generate-sigstore-key``: a key pair for sigstore signatures."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from pinnace.cli.options import text
from pinnace.cli.skopeo import policies
from pinnace.errors import AlreadyExists, InvalidArgument
from pinnace.images.signing import keys, p256
from pinnace.store import disk

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "--output-prefix PREFIX"
FLAGS: tuple[Flag, ...] = (
    text("output-prefix", about="write PREFIX.pub and PREFIX.private"),
    text("passphrase-file", about="file with the passphrase for the private key"),
)


def run(call: Call) -> int:
    prefix = call.text("output-prefix")
    if call.args or not prefix:
        raise InvalidArgument("--output-prefix is needed, and no arguments are")
    for name in (f"{prefix}.private", f"{prefix}.pub"):
        if os.path.lexists(name):
            raise AlreadyExists(f"{name} exists", hint="keys are never written over")
    passphrase = policies.passphrase_of(call, "passphrase-file")
    if passphrase is None:
        passphrase = policies.asked("Passphrase for the new key: ")
        if policies.asked("Again: ") != passphrase:
            raise InvalidArgument("the passphrases differ")
    secret = p256.generate()
    _write(f"{prefix}.private", keys.dump_private(secret, passphrase), 0o600)
    _write(f"{prefix}.pub", keys.dump_public(p256.public(secret)), 0o644)
    sys.stdout.write(f"Key written to {prefix}.private and {prefix}.pub\n")
    return 0


def _write(path: str, data: bytes, mode: int) -> None:
    with disk.errors(f"write {path}"):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
