"""sigstore signatures with keys of one's own: made and verified without a network.

Certificates of Fulcio and entries of Rekor are not looked at: a policy that asks for them is refused.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from pinnace.errors import InvalidArgument
from pinnace.images.signing import keys, p256, payload
from pinnace.images.signing.signature import (
    SIGNATURE_ANNOTATION,
    SIMPLE_SIGNING_TYPE,
    Signature,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pinnace.images.signing.payload import Claim


def sign(claim: Claim, secret: int) -> Signature:
    """A signature by the private key *secret*."""
    document = payload.make(payload.SIGSTORE, claim, creator="pinnace")
    signed = keys.dump_signature(*p256.sign(secret, document))
    annotations = {SIGNATURE_ANNOTATION: base64.b64encode(signed).decode()}
    return Signature(document, SIMPLE_SIGNING_TYPE, annotations)


def verify(signature: Signature, trusted: Sequence[p256.Point]) -> Claim:
    """What the owner of one of the keys claims; raises InvalidArgument with why not."""
    if signature.media_type != SIMPLE_SIGNING_TYPE:
        raise InvalidArgument(f"sigstore signature of unknown type {signature.media_type[:80]!r}")
    text = signature.annotations.get(SIGNATURE_ANNOTATION, "")
    try:
        pair = keys.parse_signature(base64.b64decode(text, validate=True))
    except binascii.Error:
        raise InvalidArgument("sigstore signature is not valid base64") from None
    if not any(p256.verify(key, signature.payload, *pair) for key in trusted):
        raise InvalidArgument("sigstore signature is not by any of the trusted keys")
    return payload.parse(signature.payload, payload.SIGSTORE)
