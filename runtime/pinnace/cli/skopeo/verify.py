"""``skopeo standalone-verify``: whether a GPG signature is for a manifest and a name."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pinnace.cli.options import text
from pinnace.errors import InvalidArgument, NotFound, PermissionDenied
from pinnace.images.signing import signature, simple
from pinnace.images.transports import files
from pinnace.spec import digest as digests
from pinnace.spec import image as images

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "MANIFEST DOCKER-REFERENCE KEY-FINGERPRINTS|any SIGNATURE"
FLAGS: tuple[Flag, ...] = (text("public-key-file", about="file with the public keys"),)
DETAILS = "KEY-FINGERPRINTS is a list with commas; any takes every key of --public-key-file."
_MAX_BYTES = 4 << 20


def run(call: Call) -> int:
    if len(call.args) != 4:
        raise InvalidArgument(
            "a manifest, a name, fingerprints and a signature are needed", hint=USAGE
        )
    manifest, reference, wanted, path = call.args
    keyring = _keyring(call, wanted)
    found = signature.parse(files.read(path, _MAX_BYTES))
    claim, fingerprint = simple.verify(found, [keyring])
    if wanted != "any" and fingerprint not in wanted.upper().replace(" ", "").split(","):
        raise PermissionDenied(f"signed by {fingerprint}, which is not one of {wanted}")
    if claim.reference != reference:
        raise PermissionDenied(f"the signature is for the name {claim.reference}")
    digest = digests.sha256(files.read(manifest, images.MAX_DOCUMENT_BYTES))
    if claim.digest != digest:
        raise PermissionDenied(f"the signature is for {claim.digest}, the manifest is {digest}")
    sys.stdout.write(f"Signature verified using fingerprint {fingerprint}, digest {digest}\n")
    return 0


def _keyring(call: Call, wanted: str) -> bytes:
    """The keys of the file; without one those of the user's own key ring that were named."""
    path = call.text("public-key-file")
    if path:
        return files.read(path, _MAX_BYTES)
    if wanted == "any":
        raise InvalidArgument("any is for the keys of a file", hint="--public-key-file FILE")
    import subprocess

    names = wanted.replace(" ", "").split(",")
    try:
        done = subprocess.run(
            ["gpg", "--batch", "--export", "--", *names], capture_output=True, check=False
        )
    except FileNotFoundError:
        raise NotFound("GnuPG is not installed", hint="--public-key-file FILE") from None
    if not done.stdout:
        raise NotFound(f"the key ring has no key {wanted}")
    return done.stdout
