"""Uploads to one host: blobs, mounted or sent, and manifests with what refers to them.

Source: OCI distribution spec 1.1, "Push" and "Pushing Manifests with Subject".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlencode, urljoin

from pinnace.errors import DataLoss, Error, InvalidArgument, ResourceExhausted, Unavailable
from pinnace.registry.endpoint import failure
from pinnace.spec import digest as digests
from pinnace.spec import image as images
from pinnace.spec.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from pinnace.registry.endpoint import Endpoint
    from pinnace.spec.image import Descriptor
    from pinnace.spec.reference import Reference

    Open = Callable[[], "Content"]

_ATTEMPTS = 4


class Content(Protocol):
    """What is uploaded; opened anew for each attempt, and closed after it."""

    def read(self, size: int = -1, /) -> bytes: ...
    def close(self) -> None: ...


def push_scope(ref: Reference, source: str = "") -> str:
    """The scope for a push; with *source* also for mounting from that repository."""
    mount = f" repository:{source}:pull" if source else ""
    return f"repository:{ref.repository}:pull,push{mount}"


def push_manifest(
    endpoint: Endpoint, ref: Reference, descriptor: Descriptor, open_content: Open
) -> None:
    """Upload a manifest as the tag or digest of *ref*; raises DataLoss, PermissionDenied, ..."""
    file = open_content()
    try:
        data = file.read(images.MAX_DOCUMENT_BYTES + 1)
    finally:
        file.close()
    if not descriptor.digest.verify(data):
        raise DataLoss(f"content {descriptor.digest} is damaged")
    subject = _put_manifest(endpoint, ref, ref.tag or str(descriptor.digest), descriptor, data)
    wanted = _subject_of(data)
    if wanted and not subject:
        _add_referrer(endpoint, ref, wanted, descriptor, data)


def _put_manifest(
    endpoint: Endpoint, ref: Reference, name: str, descriptor: Descriptor, data: bytes
) -> str:
    """The ``OCI-Subject`` that the registry knows, if it knows of referrers."""
    headers = {"Content-Type": descriptor.media_type}
    url = endpoint.url(ref, f"manifests/{name}")
    with endpoint.request("PUT", url, push_scope(ref), headers, data) as response:
        if response.status not in (200, 201, 202):
            raise failure(endpoint.host, response, ref)
        return str(response.headers.get("OCI-Subject", ""))


def referrers_tag(digest: Digest) -> str:
    """The tag that lists referrers where the registry has no API for them."""
    return f"{digest.algorithm[:32]}-{digest.hex[:64]}"


def _subject_of(data: bytes) -> Digest | None:
    subject = images.parse_document(data).get("subject")
    return Digest.parse(str(subject.get("digest"))) if isinstance(subject, dict) else None


def _add_referrer(
    endpoint: Endpoint, ref: Reference, subject: Digest, descriptor: Descriptor, data: bytes
) -> None:
    """List the manifest in the index that is tagged after its subject."""
    url = endpoint.url(ref, f"manifests/{referrers_tag(subject)}")
    accept = {"Accept": images.OCI_INDEX}
    with endpoint.request("GET", url, push_scope(ref), accept) as response:
        if response.status not in (200, 404):
            raise failure(endpoint.host, response, ref)
        old = response.document(images.MAX_DOCUMENT_BYTES) if response.status == 200 else b""
    known = images.parse_index(old).manifests if old else ()
    if any(item.digest == descriptor.digest for item in known):
        return
    document = images.parse_document(data)
    entry: dict[str, Any] = descriptor.to_json()
    config = document.get("config") or {}
    entry["artifactType"] = document.get("artifactType") or config.get("mediaType", "")
    if document.get("annotations"):
        entry["annotations"] = document["annotations"]
    index = images.dump(
        {
            "schemaVersion": 2,
            "mediaType": images.OCI_INDEX,
            "manifests": [*(item.to_json() for item in known), entry],
        }
    )
    made = images.Descriptor(images.OCI_INDEX, digests.sha256(index), len(index))
    _put_manifest(endpoint, ref, referrers_tag(subject), made, index)


def has_blob(endpoint: Endpoint, ref: Reference, digest: Digest) -> bool:
    """Whether the repository has the blob."""
    url = endpoint.url(ref, f"blobs/{digest}")
    with endpoint.request("HEAD", url, push_scope(ref), {}) as response:
        if response.status not in (200, 404):
            raise failure(endpoint.host, response, ref)
        return response.status == 200


def mount_blob(endpoint: Endpoint, ref: Reference, digest: Digest, source: str) -> bool:
    """Take the blob over from the repository *source* of the same registry, if that works."""
    query = urlencode({"mount": digest, "from": source})
    url = endpoint.url(ref, f"blobs/uploads/?{query}")
    headers = {"Content-Length": "0"}
    with endpoint.request("POST", url, push_scope(ref, source), headers) as response:
        status, place = response.status, response.headers.get("Location", "")
        where = urljoin(response.url, place)
    if status == 202 and place:
        # It began an upload instead, which nobody will go on with.
        endpoint.request("DELETE", where, push_scope(ref), {}, retry=False).close()
    return status == 201


def push_blob(
    endpoint: Endpoint, ref: Reference, descriptor: Descriptor, open_content: Open
) -> None:
    """Upload a blob; a broken connection starts it again, from the beginning.

    What *open_content*'s reader raises ends it: nothing of the blob is visible then.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _send_blob(endpoint, ref, descriptor, open_content)
        except (Unavailable, ResourceExhausted):
            if attempt == _ATTEMPTS:
                raise
            endpoint.client.pause(attempt)
        else:
            return


def _send_blob(
    endpoint: Endpoint, ref: Reference, descriptor: Descriptor, open_content: Open
) -> None:
    scope = push_scope(ref)
    start = endpoint.url(ref, "blobs/uploads/")
    with endpoint.request("POST", start, scope, {"Content-Length": "0"}) as response:
        if response.status != 202:
            raise failure(endpoint.host, response, ref)
        place = urljoin(response.url, response.headers.get("Location", ""))
    place += f"{'&' if '?' in place else '?'}digest={quote(descriptor.digest)}"
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(descriptor.size),
    }
    with endpoint.request("PUT", place, scope, headers, open_content, retry=False) as response:
        if response.status not in (201, 204):
            why = failure(endpoint.host, response, ref)
            raise _refused(endpoint, descriptor, response.status, why)


def _refused(endpoint: Endpoint, descriptor: Descriptor, status: int, why: Error) -> Error:
    """A session that the registry forgot (404) is worth another try, bytes that it refuses are not."""
    if status == 404:
        return Unavailable(f"{endpoint.host.address} lost the upload of {descriptor.digest}")
    if status in (400, 413):
        return InvalidArgument(why.message)
    return why
