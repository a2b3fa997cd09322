"""Simple signing: OpenPGP messages, made by ``gpg`` and verified by ``gpgv``, or ``gpg`` where that is missing.

Keys come from the files that a policy names, never from somebody's key ring, and the verdict is read from
the program's status lines (GnuPG's doc/DETAILS), not from its exit status or words.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING, NamedTuple

from pinnace.errors import InvalidArgument, NotFound, PermissionDenied, Unavailable
from pinnace.images.signing import payload
from pinnace.images.signing.signature import Signature

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pinnace.images.signing.payload import Claim

_SECONDS = 60.0
_BAD = frozenset(
    ("BADSIG", "ERRSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG", "NODATA", "FAILURE", "UNEXPECTED")
)
_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{16,64}\Z")
_ARMOR = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(?:[^\r\n]+: [^\r\n]*\r?\n)*\r?\n(.*?)"
    rb"\r?\n(?:=[A-Za-z0-9+/]{4}\r?\n)?-----END PGP PUBLIC KEY BLOCK-----",
    re.DOTALL,
)


class Signed(NamedTuple):
    """A message whose signature is good: its content and the fingerprint of the signer's primary key."""

    content: bytes
    fingerprint: str


def verify(signature: Signature, keyrings: Sequence[bytes]) -> tuple[Claim, str]:
    """What one of the keys' owners claims, and the key's fingerprint.

    Raises InvalidArgument with why not, NotFound without GnuPG.
    """
    signed = open_message(signature.payload, keyrings)
    return payload.parse(signed.content, payload.SIMPLE), signed.fingerprint


def open_message(message: bytes, keyrings: Sequence[bytes]) -> Signed:
    """The content of a signed message; *keyrings* are public keys, armored or not."""
    with tempfile.TemporaryDirectory(prefix="pinnace-gpg-") as home:
        ring, file = os.path.join(home, "ring.gpg"), os.path.join(home, "message")
        _write(ring, b"".join(map(dearmored, keyrings)))
        _write(file, message)
        done = _run([*_verifier(home, ring), file])
    status = [
        line.split()[1:]
        for line in done.stderr.decode(errors="replace").splitlines()
        if line.startswith("[GNUPG:] ")
    ]
    words = [line[0] for line in status if line]
    bad = sorted(_BAD.intersection(words))
    good = [line for line in status if line[:1] == ["VALIDSIG"]]
    if bad or words.count("GOODSIG") != 1 or len(good) != 1:
        raise InvalidArgument(f"OpenPGP signature is not good: {_reason(bad, words)}")
    # The last field of VALIDSIG is the primary key, of which the signing key may be a subkey.
    return Signed(done.stdout, good[0][-1])


def _reason(bad: Sequence[str], words: Sequence[str]) -> str:
    meaning = {
        "BADSIG": "its content was changed", "ERRSIG": "it is by an unknown key",
        "EXPSIG": "it has expired", "EXPKEYSIG": "its key has expired", "REVKEYSIG": "its key was revoked",
        "NODATA": "it is no OpenPGP message", "UNEXPECTED": "it is no OpenPGP message",
    }  # fmt: skip
    for word in bad:
        if word in meaning:
            return meaning[word]
    return "it has several signatures" if words.count("GOODSIG") > 1 else "it is not signed"


def _verifier(home: str, ring: str) -> list[str]:
    common = ["--homedir", home, "--keyring", ring, "--status-fd", "2", "--output", "-"]
    if shutil.which("gpgv"):
        return ["gpgv", *common]
    if shutil.which("gpg"):
        return ["gpg", "--batch", "--no-default-keyring", "--trust-model", "always", *common, "--decrypt"]  # fmt: skip
    raise NotFound("GnuPG is not installed", hint="simple signing needs the package gpgv, or gpg")


def dearmored(data: bytes) -> bytes:
    """Public keys as key rings have them; raises InvalidArgument for a damaged armor."""
    if b"-----BEGIN PGP" not in data:
        return data
    blocks = _ARMOR.findall(data)
    if not blocks:
        raise InvalidArgument("damaged OpenPGP public key")
    try:
        return b"".join(base64.b64decode(block) for block in blocks)
    except binascii.Error:
        raise InvalidArgument("damaged OpenPGP public key") from None


def sign(claim: Claim, fingerprint: str, passphrase: bytes | None = None) -> Signature:
    """A signature by a key of the caller's own key ring; raises PermissionDenied when gpg refuses."""
    if not _FINGERPRINT.match(fingerprint.replace(" ", "")):
        raise InvalidArgument(f"{fingerprint!r} is not the fingerprint of a key")
    if not shutil.which("gpg"):
        raise NotFound("GnuPG is not installed", hint="signing needs the package gpg")
    document = payload.make(payload.SIMPLE, claim, creator="pinnace")
    command = ["gpg", "--batch", "--no-tty", "--local-user", fingerprint.replace(" ", "")]
    given = b""
    with tempfile.TemporaryDirectory(prefix="pinnace-gpg-") as folder:
        file = os.path.join(folder, "document")
        _write(file, document)
        if passphrase is not None:
            command += ["--pinentry-mode", "loopback", "--passphrase-fd", "0"]
            given = passphrase + b"\n"
        done = _run([*command, "--output", "-", "--sign", file], given)
    if done.returncode or not done.stdout:
        words = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise PermissionDenied(f"gpg does not sign with {fingerprint}: {words[-1][:200]}")
    return Signature(done.stdout)


def _run(command: list[str], given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        return subprocess.run(
            command, input=given, capture_output=True, check=False,
            timeout=_SECONDS, env=environment,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{command[0]} does not answer") from None


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
