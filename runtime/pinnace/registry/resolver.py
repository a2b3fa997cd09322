"""The client of registries: resolve, fetch, push and list, over mirrors in their order.

Source: OCI distribution spec 1.1. What a mirror does not have or cannot give is asked of the next
host; what a host says is checked against the digest that was asked for.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pinnace.errors import (
    DataLoss,
    Error,
    InvalidArgument,
    NotFound,
    Unavailable,
    Unimplemented,
)
from pinnace.registry import hosts, listing, transport, upload
from pinnace.registry.endpoint import Endpoint, failure
from pinnace.spec import digest as digests
from pinnace.spec import image as images
from pinnace.spec.digest import Digest
from pinnace.spec.image import Descriptor
from pinnace.spec.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pinnace.registry.auth import Credentials
    from pinnace.registry.hosts import Found, Host
    from pinnace.registry.transport import Response
    from pinnace.registry.upload import Open

_ACCEPT = ", ".join(
    (images.DOCKER_MANIFEST, images.DOCKER_INDEX, images.OCI_MANIFEST, images.OCI_INDEX, "*/*")
)
Answer = TypeVar("Answer")
_BY_MANIFEST = images.INDEX_TYPES | images.MANIFEST_TYPES


class Stream(NamedTuple):
    """Content on its way: ``response`` delivers from ``offset`` on."""

    response: Response
    offset: int

    def read(self, size: int = -1) -> bytes:
        """Up to *size* bytes; see :meth:`Response.read`."""
        return self.response.read(size)

    def close(self) -> None:
        """Give the connection up."""
        self.response.close()


class Resolver:
    """Finds and moves content; one per pull or push, or kept. Safe for many threads."""

    def __init__(
        self,
        hosts_dirs: Sequence[str] = (),
        *,
        credentials: Credentials | None = None,
        plain_http: bool = False,
        skip_verify: bool = False,
        insecure: bool = False,
        certificates: str = "",
        headers: Sequence[tuple[str, str]] = (),
        fallback: Callable[[str], Found | None] | None = None,
        on_warning: Callable[[str], None] | None = None,
        sleep: float = 1.0,
    ) -> None:
        """*hosts_dirs* are directories in the form of certs.d; *sleep* scales waits (for tests).

        *skip_verify* and *headers* are meant for the registry asked for, not for its mirrors, as are
        *certificates*, a directory in Docker's form, and *insecure*, which takes any certificate
        and, where no TLS is spoken, plain HTTP. *fallback* knows hosts of registries that the
        directories have nothing about.
        """
        self._hosts_dirs = tuple(hosts_dirs)
        self._credentials = credentials
        self._plain_http = plain_http
        self._skip_verify = skip_verify or insecure
        self._insecure = insecure
        self._certificates = certificates
        self._headers = tuple(headers)
        self._fallback = fallback
        self._on_warning = on_warning
        self._sleep = sleep
        self._endpoints: dict[str, tuple[Endpoint, ...]] = {}
        self._lock = threading.Lock()

    def hosts(self, registry: str) -> tuple[Host, ...]:
        """The hosts that are asked for *registry*, in order."""
        return tuple(endpoint.host for endpoint in self._for(registry))

    def _for(self, registry: str) -> tuple[Endpoint, ...]:
        with self._lock:
            if registry not in self._endpoints:
                found = hosts.find(registry, self._hosts_dirs, plain_http=self._plain_http)
                if not found.source and self._fallback:
                    found = self._fallback(registry) or found
                for warning in found.warnings:
                    if self._on_warning:
                        self._on_warning(warning)
                self._endpoints[registry] = tuple(
                    Endpoint(self._adjusted(host), self._credentials, self._sleep)
                    for host in found.hosts
                )
            return self._endpoints[registry]

    def _adjusted(self, host: Host) -> Host:
        if host.stands_for:
            return host
        if self._certificates:
            host = host._replace(**hosts.docker_certificates(self._certificates))
        if self._insecure:
            host = host._replace(scheme="https" if transport.speaks_tls(host) else "http")
        return host._replace(
            skip_verify=host.skip_verify or self._skip_verify,
            headers=(*host.headers, *self._headers),
        )

    def close(self) -> None:
        """Close the connections that are kept."""
        with self._lock:
            for endpoints in self._endpoints.values():
                for endpoint in endpoints:
                    endpoint.client.close()
            self._endpoints.clear()

    # Reading.

    def resolve(self, reference: str) -> tuple[str, Descriptor]:
        """The name as given and what it means now; raises NotFound, PermissionDenied, Unavailable."""
        ref = Reference.parse(reference).checked()
        if not ref.object:
            raise InvalidArgument(
                f"reference {reference} has neither tag nor digest", hint=f"{reference}:latest?"
            )
        found = self._each(
            ref, hosts.RESOLVE, lambda endpoint: self._resolve_at(endpoint, ref), str(ref)
        )
        return str(ref), found

    def _resolve_at(self, endpoint: Endpoint, ref: Reference) -> Descriptor:
        url = endpoint.url(ref, f"manifests/{ref.digest or ref.tag}")
        with self._get(endpoint, ref, url, "HEAD") as response:
            media_type = response.headers.get_content_type()
            declared = response.headers.get("Docker-Content-Digest", "")
            length = response.headers.get("Content-Length", "")
        if not ((ref.digest or declared) and length.isdecimal()):
            # A server that says too little: read it and see.
            return self._manifest_at(endpoint, ref)[0]
        digest = Digest.parse(declared) if declared else ref.digest
        if digest is None or (ref.digest and digest != ref.digest):
            raise DataLoss(f"{endpoint.host.address} answers with {digest} for {ref.digest}")
        return Descriptor(_document_type(media_type), digest, int(length))

    def manifest(self, reference: str) -> tuple[Descriptor, bytes]:
        """The manifest or index that *reference* means, in one request, verified.

        Raises NotFound, PermissionDenied, Unavailable, DataLoss.
        """
        ref = Reference.parse(reference).checked()
        return self._each(
            ref, hosts.RESOLVE, lambda endpoint: self._manifest_at(endpoint, ref), str(ref)
        )

    def _manifest_at(self, endpoint: Endpoint, ref: Reference) -> tuple[Descriptor, bytes]:
        url = endpoint.url(ref, f"manifests/{ref.digest or ref.tag}")
        with self._get(endpoint, ref, url, "GET") as response:
            media_type = _document_type(response.headers.get_content_type())
            declared = response.headers.get("Docker-Content-Digest", "")
            data = response.document(images.MAX_DOCUMENT_BYTES)
        media_type = images.media_type_of(images.parse_document(data), media_type)
        wanted = ref.digest or (Digest.parse(declared) if declared else None)
        if wanted and not wanted.verify(data):
            raise DataLoss(f"{endpoint.host.address} sent a manifest that is not {wanted}")
        return Descriptor(media_type, wanted or digests.sha256(data), len(data)), data

    def fetch(self, reference: str, descriptor: Descriptor, offset: int = 0) -> Stream:
        """Content from *offset* on (or from before, as ``offset`` of the stream then says).

        The bytes are not checked here: who stores them does; a size below 0 is one that is not known. Raises NotFound, PermissionDenied,
        Unavailable.
        """
        ref = Reference.parse(reference).checked()
        kind = "manifests" if descriptor.media_type in _BY_MANIFEST else "blobs"
        return self._each(
            ref,
            hosts.PULL,
            lambda endpoint: self._fetch_at(endpoint, ref, kind, descriptor, offset),
            f"{descriptor.digest} of {ref.locator}",
        )

    def _fetch_at(
        self, endpoint: Endpoint, ref: Reference, kind: str, descriptor: Descriptor, offset: int
    ) -> Stream:
        url = endpoint.url(ref, f"{kind}/{descriptor.digest}")
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        response = self._get(endpoint, ref, url, "GET", headers)
        if response.status == 416:  # nothing lies behind offset: start again
            response.close()
            return self._fetch_at(endpoint, ref, kind, descriptor, 0)
        start = 0
        if response.status == 206:
            start = _range_start(response.headers.get("Content-Range", ""))
            if start != offset:
                response.close()
                raise Unavailable(f"{endpoint.host.address} sent another range than was asked for")
        length = response.length
        if length is not None and length + start != descriptor.size >= 0:
            response.close()
            raise DataLoss(
                f"{endpoint.host.address} has {length + start} bytes for {descriptor.digest}, "
                f"its descriptor says {descriptor.size}"
            )
        return Stream(response, start)

    def tags(self, repository: str) -> list[str]:
        """The tags of ``host/name``; raises NotFound."""
        ref = Reference.parse(repository).checked()
        return self._each(ref, hosts.PULL, lambda e: list(listing.tags(e, ref)), ref.locator)

    def catalog(self, registry: str) -> list[str]:
        """The repositories of a registry, as far as it tells; its mirrors are not asked."""
        return list(listing.catalog(self._own(registry)))

    def referrers(
        self, reference: str, digest: Digest, artifact_type: str = ""
    ) -> list[Descriptor]:
        """The manifests in the repository of *reference* whose subject is *digest*."""
        ref = Reference.parse(reference).checked()
        return self._each(
            ref,
            hosts.PULL,
            lambda endpoint: listing.referrers(endpoint, ref, digest, artifact_type),
            ref.locator,
        )

    def _get(
        self,
        endpoint: Endpoint,
        ref: Reference,
        url: str,
        method: str,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """A good answer, or the error that the status means."""
        sent = {"Accept": _ACCEPT, **(headers or {})}
        response = endpoint.request(method, url, listing.pull_scope(ref), sent)
        if response.status in (200, 206) or (response.status == 416 and headers):
            return response
        raise failure(endpoint.host, response, ref)

    def _each(
        self, ref: Reference, capability: str, ask: Callable[[Endpoint], Answer], what: str
    ) -> Answer:
        """Ask the hosts in order; the first answer counts, or the most telling failure."""
        failures: list[tuple[Host, Error]] = []
        for endpoint in self._for(ref.hostname):
            if capability not in endpoint.host.capabilities:
                continue
            try:
                return ask(endpoint)
            except (Unimplemented, InvalidArgument):
                raise
            except Error as error:
                failures.append((endpoint.host, error))
        if not failures:
            raise NotFound(f"no host for {ref.hostname} may {capability} (hosts.toml): not found")
        last = failures[-1][1]
        message = f"{what}: not found" if isinstance(last, NotFound) else last.message
        others = "; ".join(f"{host.address}: {other.message}" for host, other in failures[:-1])
        if others:
            message += f" (before that {others})"
        raise type(last)(message, hint=last.hint) from last

    # Writing.

    def push(
        self,
        reference: str,
        descriptor: Descriptor,
        open_content: Open,
        *,
        source: str = "",
    ) -> bool:
        """Upload content to the repository of *reference*; False when it was there already.

        A manifest gets the tag of *reference*, if it is the one meant by it. A blob that the
        registry has in the repository *source* is mounted instead of sent.
        """
        ref = Reference.parse(reference).checked()
        endpoint = self._may_push(ref)
        if descriptor.media_type in _BY_MANIFEST:
            upload.push_manifest(endpoint, ref, descriptor, open_content)
            return True
        if self.has(reference, descriptor.digest, source):
            return False
        upload.push_blob(endpoint, ref, descriptor, open_content)
        return True

    def upload(self, reference: str, descriptor: Descriptor, open_content: Open) -> None:
        """Upload a blob that the registry does not have, as far as is known."""
        ref = Reference.parse(reference).checked()
        upload.push_blob(self._may_push(ref), ref, descriptor, open_content)

    def pause(self, attempt: int) -> None:
        """Wait before attempt number *attempt* + 1 at something that failed."""
        delay = min(30.0, 0.5 * 2 ** (attempt - 1))
        time.sleep(delay * self._sleep)

    def has(self, reference: str, digest: Digest, source: str = "") -> bool:
        """Whether the repository that would be pushed to has a blob, or took it from *source*."""
        ref = Reference.parse(reference).checked()
        endpoint = self._may_push(ref)
        if upload.has_blob(endpoint, ref, digest):
            return True
        return bool(source) and upload.mount_blob(endpoint, ref, digest, source)

    def delete(self, reference: str) -> Digest:
        """Delete the manifest that *reference* means, with all its tags; its digest.

        Raises NotFound, Unimplemented where the registry does not allow it.
        """
        ref = Reference.parse(reference).checked()
        endpoint = self._may_push(ref)
        digest = ref.digest or self._resolve_at(endpoint, ref).digest
        listing.delete_manifest(endpoint, ref, digest)
        return digest

    def _may_push(self, ref: Reference) -> Endpoint:
        for endpoint in self._for(ref.hostname):
            if hosts.PUSH in endpoint.host.capabilities:
                return endpoint
        raise NotFound(f"no host for {ref.hostname} may push (hosts.toml): not found")

    def check(self, registry: str) -> None:
        """Ask the registry itself whether the login is right; raises PermissionDenied."""
        endpoint = self._own(registry)
        with endpoint.request("GET", endpoint.url_of(""), "", {}) as response:
            if response.status not in (200, 404):
                raise failure(endpoint.host, response, registry)

    def _own(self, registry: str) -> Endpoint:
        """The registry itself, without its mirrors."""
        return self._for(registry)[-1]


def _document_type(media_type: str) -> str:
    """The media type of a HEAD answer; what is no manifest is left to who reads it."""
    if media_type.startswith("application/vnd.docker.distribution.manifest.v1+"):
        raise Unimplemented(
            "image manifest of Docker's schema 1, which has no content digests",
            hint="push the image again with a current tool",
        )
    return media_type


def _range_start(value: str) -> int:
    """The first byte of ``Content-Range: bytes 5-9/10`` (RFC 9110 section 14.4); -1 if malformed."""
    start = value.removeprefix("bytes ").partition("-")[0]
    return int(start) if start.isdecimal() else -1
