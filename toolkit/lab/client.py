"""The few calls of the distribution API that filling a registry takes.

OCI distribution specification 1.1: existence checks, monolithic blob uploads, manifests. Everything
that is already there is left alone, so pushing the same image again costs a few HEAD requests.
"""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlencode, urlsplit

from toolkit.errors import PinnaceError
from toolkit.oci import INDEX, MANIFEST, Blob, Image

_LIMIT = 60.0


class RegistryClient:
    """One kept-alive connection to a registry; ``trust`` is the CA certificate for ``https`` URLs."""

    def __init__(self, url: str, *, trust: Path | None = None) -> None:
        parts = urlsplit(url)
        self._url = url
        assert parts.hostname is not None
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=str(trust) if trust else None)
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=_LIMIT, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(
                parts.hostname, parts.port, timeout=_LIMIT
            )

    def __enter__(self) -> RegistryClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()

    def catalog(self) -> list[str]:
        """The names of all repositories."""
        return list(self._json("/v2/_catalog?n=1000").get("repositories") or [])

    def tags(self, repository: str) -> list[str]:
        return sorted(self._json(f"/v2/{repository}/tags/list").get("tags") or [])

    def manifest(self, repository: str, reference: str) -> dict[str, Any] | None:
        """An index or manifest, or ``None`` when there is none by that tag or digest."""
        accept = {"Accept": f"{INDEX}, {MANIFEST}"}
        path = f"/v2/{repository}/manifests/{reference}"
        status, body, _ = self._request("GET", path, headers=accept, expect=(200, 404))
        document: dict[str, Any] | None = json.loads(body) if status == 200 else None
        return document

    def has_manifest(self, repository: str, digest: str) -> bool:
        accept = {"Accept": f"{INDEX}, {MANIFEST}"}
        path = f"/v2/{repository}/manifests/{digest}"
        return self._request("HEAD", path, headers=accept, expect=(200, 404))[0] == 200

    def push_image(self, repository: str, image: Image) -> None:
        """Push one platform's blobs and manifest, the manifest by its digest."""
        for blob in image.blobs:
            self.push_blob(repository, blob)
        self.push_manifest(repository, image.manifest.digest, image.manifest)

    def push_blob(self, repository: str, blob: Blob) -> None:
        path = f"/v2/{repository}/blobs"
        if self._request("HEAD", f"{path}/{blob.digest}", expect=(200, 404))[0] == 200:
            return
        _, _, location = self._request("POST", f"{path}/uploads/", expect=(202,))
        upload = urlsplit(location)
        query = f"{upload.query}&" if upload.query else ""
        self._request(
            "PUT",
            f"{upload.path}?{query}{urlencode({'digest': blob.digest})}",
            body=blob.data,
            headers={"Content-Type": "application/octet-stream"},
            expect=(201,),
        )

    def push_manifest(self, repository: str, reference: str, manifest: Blob) -> None:
        """Store a manifest or index under a tag or its digest."""
        self._request(
            "PUT",
            f"/v2/{repository}/manifests/{reference}",
            body=manifest.data,
            headers={"Content-Type": manifest.media_type},
            expect=(201,),
        )

    def _json(self, path: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self._request("GET", path, expect=(200,))[1])
        return document

    def _request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        expect: tuple[int, ...],
    ) -> tuple[int, bytes, str]:
        """Status, body and Location; raises :class:`PinnaceError` for any status not expected."""
        try:
            self._connection.request(method, path, body=body, headers=headers or {})
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as problem:
            self._connection.close()
            raise PinnaceError(f"the registry {self._url} does not answer: {problem}") from None
        if response.status not in expect:
            said = content.decode("utf-8", "replace").strip()[:200]
            raise PinnaceError(f"{self._url}: {method} {path} gave {response.status}: {said}")
        return response.status, content, response.getheader("Location", "")
