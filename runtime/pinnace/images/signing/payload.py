"""What a signature signs: "this manifest may be called that" (the simple signing document).

Source: containers/image's "atomic-signature" format, which sigstore uses with another type. Fields that
are not known make the document invalid: they might be a condition that we would not keep.
"""

from __future__ import annotations

import json
import time
from typing import Any, NamedTuple

from pinnace.errors import InvalidArgument
from pinnace.spec.digest import Digest

SIMPLE = "atomic container signature"
SIGSTORE = "cosign container image signature"
_MAX_BYTES = 1 << 20


class Claim(NamedTuple):
    """A manifest's digest and the name that the signer gives it."""

    digest: Digest
    reference: str


def make(kind: str, claim: Claim, *, creator: str = "") -> bytes:
    """The document to be signed."""
    optional = {"creator": creator, "timestamp": int(time.time())} if creator else {}
    document = {
        "critical": {
            "identity": {"docker-reference": claim.reference},
            "image": {"docker-manifest-digest": str(claim.digest)},
            "type": kind,
        },
        "optional": optional,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def parse(data: bytes, kind: str) -> Claim:
    """Read a document whose signature was good; raises InvalidArgument for any other shape."""
    if len(data) > _MAX_BYTES:
        raise InvalidArgument("signed document is too large")
    try:
        document: Any = json.loads(data, object_pairs_hook=_no_repeats)
    except (ValueError, RecursionError):
        raise InvalidArgument("signed document is not valid JSON") from None
    top = _exactly(document, {"critical", "optional"}, "signed document", may_lack={"optional"})
    critical = _exactly(top["critical"], {"type", "image", "identity"}, "critical")
    if critical["type"] != kind:
        raise InvalidArgument(f"signed document is of type {str(critical['type'])[:60]!r}")
    image = _exactly(critical["image"], {"docker-manifest-digest"}, "critical.image")
    identity = _exactly(critical["identity"], {"docker-reference"}, "critical.identity")
    digest, reference = image["docker-manifest-digest"], identity["docker-reference"]
    if not isinstance(digest, str) or not isinstance(reference, str):
        raise InvalidArgument("signed document has a digest or a name that is no string")
    return Claim(Digest.parse(digest), reference)


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A key that stands twice means one thing to us and perhaps another to the signer."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("repeated key")
    return found


def _exactly(
    value: Any, keys: set[str], where: str, *, may_lack: frozenset[str] | set[str] = frozenset()
) -> dict[str, Any]:
    if not isinstance(value, dict) or not keys - may_lack <= value.keys() <= keys:
        raise InvalidArgument(f"{where} does not have exactly {', '.join(sorted(keys))}")
    return value
