"""Releases and statuses as artifacts of a registry (OCI image specification 1.1, "Guidelines for artifact usage").

A release has the index as its config, the signature as its first layer and the contents as the others. A
status is a manifest alone: its document is in the descriptor of its layer (``data``), so that one request reads
it.
"""

from __future__ import annotations

import base64
import json

from toolkit.agent.errors import AgentError
from toolkit.agent.signed import LARGEST_INDEX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
RELEASE = "application/vnd.pinnace.release.v1"
INDEX = "application/vnd.pinnace.index.v1+json"
SIGNATURE = "application/vnd.pinnace.signature.v1"
CONTENT = "application/vnd.pinnace.content.v1"
STATUS = "application/vnd.pinnace.status.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
SIGNED = "io.pinnace.signature"
"""Annotation of a status: its signature by the board's host key."""
LARGEST_SIGNATURE = 64 << 10
LARGEST_STATUS = 256 << 10


def parts(data: bytes) -> tuple[tuple[str, int], tuple[str, int]]:
    """Digest and size of a release's index and signature; raises :class:`AgentError` for anything else."""
    try:
        found = json.loads(data)
        index, signature = found["config"], found["layers"][0]
        right = found["artifactType"] == RELEASE and index["mediaType"] == INDEX
        right = right and signature["mediaType"] == SIGNATURE
        sizes = int(index["size"]), int(signature["size"])
        digests = str(index["digest"]), str(signature["digest"])
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        raise AgentError("what the registry has there is not a release of ours") from None
    if not right or not all(digest.startswith("sha256:") for digest in digests):
        raise AgentError("what the registry has there is not a release of ours")
    if not 0 < sizes[0] <= LARGEST_INDEX or not 0 < sizes[1] <= LARGEST_SIGNATURE:
        raise AgentError("the registry announces an index or signature of a size that none has")
    return (digests[0], sizes[0]), (digests[1], sizes[1])


def status(document: bytes, digest: str, empty: str, signature: str) -> bytes:
    """The manifest of a status; ``digest`` and ``empty`` are those of the blobs that it names."""
    layer = _descriptor(STATUS, digest, len(document))
    found = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": STATUS,
        "config": _descriptor(EMPTY, empty, 2),
        "layers": [{**layer, "data": base64.b64encode(document).decode()}],
        "annotations": {SIGNED: signature},
    }
    return json.dumps(found, sort_keys=True).encode()


def read_status(data: bytes) -> tuple[bytes, str]:
    """The document of a status and its signature; raises ``ValueError`` for something else."""
    try:
        found = json.loads(data)
        if found["artifactType"] != STATUS:
            raise ValueError("not a status")
        text = base64.b64decode(found["layers"][0]["data"], validate=True)
        return text, str(found["annotations"][SIGNED])
    except (KeyError, TypeError, IndexError, RecursionError) as problem:
        raise ValueError(f"not a status: {problem}") from None


def release(index: tuple[str, int], signature: tuple[str, int], contents: dict[str, int]) -> bytes:
    """The manifest of a release; digests with their algorithm, sizes in bytes."""
    layers = [_descriptor(SIGNATURE, *signature)]
    layers += [_descriptor(CONTENT, f"sha256:{name}", size) for name, size in sorted(contents.items())]  # fmt: skip
    found = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": RELEASE,
        "config": _descriptor(INDEX, *index),
        "layers": layers,
    }
    return json.dumps(found, sort_keys=True).encode()


def _descriptor(kind: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": kind, "digest": digest, "size": size}
