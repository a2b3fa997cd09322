"""A signature as it travels: GPG ("simple signing") or sigstore's, which says what it signs.

In files the two are told apart by their beginning (containers/image's documentation of its
signature storage): a zero byte and the format's name, or OpenPGP's own data.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from pinnace.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

SIMPLE_SIGNING_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
"""Media type of what a sigstore signature signs."""
SIGNATURE_ANNOTATION = "dev.cosignproject.cosign/signature"

_SIGSTORE_MARK = b"\x00sigstore-json\n"


class Signature(NamedTuple):
    """Either an OpenPGP message, or a payload with annotations (the signature is one of them)."""

    payload: bytes
    media_type: str = ""
    annotations: Mapping[str, str] = {}

    @property
    def is_sigstore(self) -> bool:
        """Whether this is a sigstore signature."""
        return bool(self.media_type)

    def to_bytes(self) -> bytes:
        """The form that files have."""
        if not self.is_sigstore:
            return self.payload
        document = {
            "mimeType": self.media_type,
            "payload": base64.b64encode(self.payload).decode(),
            "annotations": dict(self.annotations),
        }
        return _SIGSTORE_MARK + json.dumps(document, separators=(",", ":")).encode()


def parse(data: bytes) -> Signature:
    """The signature in a file; raises InvalidArgument for an unknown form."""
    if data[:1] != b"\x00":
        return Signature(data)
    if not data.startswith(_SIGSTORE_MARK):
        name = data[1:].partition(b"\n")[0][:40]
        raise InvalidArgument(f"signature of unknown form {name!r}")
    try:
        document: Any = json.loads(data[len(_SIGSTORE_MARK) :])
        payload = base64.b64decode(document["payload"], validate=True)
        media_type, annotations = document["mimeType"], document.get("annotations") or {}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error):
        raise InvalidArgument("damaged sigstore signature") from None
    strings = [media_type, *annotations.keys(), *annotations.values()]
    if not media_type or not all(isinstance(text, str) for text in strings):
        raise InvalidArgument("damaged sigstore signature")
    return Signature(payload, media_type, annotations)
