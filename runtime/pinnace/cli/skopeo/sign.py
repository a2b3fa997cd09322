"""``skopeo standalone-sign``: a GPG signature for a manifest in a file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pinnace.cli.options import text
from pinnace.cli.skopeo import policies
from pinnace.errors import InvalidArgument
from pinnace.images.signing import payload, simple
from pinnace.images.transports import files
from pinnace.spec import digest as digests
from pinnace.spec import image as images

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "MANIFEST DOCKER-REFERENCE KEY-FINGERPRINT --output FILE"
FLAGS: tuple[Flag, ...] = (
    text("output", "o", about="write the signature into this file"),
    text("passphrase-file", about="file with the passphrase of the key"),
)


def run(call: Call) -> int:
    if len(call.args) != 3 or not call.text("output"):
        raise InvalidArgument("a manifest, a name, a key and --output are needed", hint=USAGE)
    manifest, reference, fingerprint = call.args
    claim = payload.Claim(
        digests.sha256(files.read(manifest, images.MAX_DOCUMENT_BYTES)), reference
    )
    made = simple.sign(claim, fingerprint, policies.passphrase_of(call, "passphrase-file"))
    files.write(os.path.abspath(call.text("output")), made.to_bytes())
    return 0
