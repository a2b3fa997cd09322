"""The client of registries: resolve, fetch, push and list, over mirrors in their order.

Source: OCI distribution spec 1.1. What a mirror does not have or cannot give is asked of the next
host; what a host says is checked against the digest that was asked for.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, TypeVar
from urllib.parse import quote, urlencode, urljoin

from pinnace.errors import (
    DataLoss,
    Error,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unavailable,
    Unimplemented,
)
from pinnace.registry import hosts
from pinnace.registry.auth import Authorizer, login_hint, parse_challenges
from pinnace.registry.transport import Client, Response
from pinnace.spec import digest as digests
from pinnace.spec import image as images
from pinnace.spec.digest import Digest
from pinnace.spec.image import Descriptor
from pinnace.spec.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pinnace.registry.auth import Credentials
    from pinnace.registry.hosts import Host

_ACCEPT = ", ".join(
    (images.DOCKER_MANIFEST, images.DOCKER_INDEX, images.OCI_MANIFEST, images.OCI_INDEX, "*/*")
)
Answer = TypeVar("Answer")
_MAX_ERROR = 1 << 16
_MAX_TAGS = 1 << 22
_MAX_PAGES = 1000
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


class _Endpoint:
    """A host with its connections and its tokens."""

    def __init__(self, host: Host, credentials: Credentials | None, sleep: float) -> None:
        self.host = host
        self.client = Client(host, sleep=sleep)
        self.authorizer = Authorizer(host, self.client, credentials)

    def request(
        self,
        method: str,
        url: str,
        scope: str,
        headers: Mapping[str, str],
        body: bytes | BinaryIO | None = None,
        *,
        retry: bool = True,
    ) -> Response:
        """Send with credentials, answering the host's challenges."""
        own = dict(self.host.headers)
        for _ in range(3):
            token = self.authorizer.header(scope)
            sent = {**own, **headers, **({"Authorization": token} if token else {})}
            response = self.client.request(method, url, sent, body, retry=retry)
            if response.status != 401:
                return response
            challenges = parse_challenges(response.headers.get_all("WWW-Authenticate") or [])
            response.close()
            if token.startswith("Bearer "):
                self.authorizer.forget(scope)
            if not self.authorizer.answer(challenges, scope):
                break
            if body is not None and not isinstance(body, bytes):
                body.seek(0)
        raise PermissionDenied(f"{self.host.address} wants a login", hint=login_hint(bool(token)))


class Resolver:
    """Finds and moves content; one per pull or push, or kept. Safe for many threads."""

    def __init__(
        self,
        hosts_dirs: Sequence[str] = (),
        *,
        credentials: Credentials | None = None,
        plain_http: bool = False,
        skip_verify: bool = False,
        headers: Sequence[tuple[str, str]] = (),
        on_warning: Callable[[str], None] | None = None,
        sleep: float = 1.0,
    ) -> None:
        """*hosts_dirs* are directories in the form of certs.d; *sleep* scales waits (for tests).

        *skip_verify* and *headers* are meant for the registry asked for, not for its mirrors.
        """
        self._hosts_dirs = tuple(hosts_dirs)
        self._credentials = credentials
        self._plain_http = plain_http
        self._skip_verify = skip_verify
        self._headers = tuple(headers)
        self._on_warning = on_warning
        self._sleep = sleep
        self._endpoints: dict[str, tuple[_Endpoint, ...]] = {}
        self._lock = threading.Lock()

    def hosts(self, registry: str) -> tuple[Host, ...]:
        """The hosts that are asked for *registry*, in order."""
        return tuple(endpoint.host for endpoint in self._for(registry))

    def _for(self, registry: str) -> tuple[_Endpoint, ...]:
        with self._lock:
            if registry not in self._endpoints:
                found = hosts.find(registry, self._hosts_dirs, plain_http=self._plain_http)
                for warning in found.warnings:
                    if self._on_warning:
                        self._on_warning(warning)
                self._endpoints[registry] = tuple(
                    _Endpoint(self._adjusted(host), self._credentials, self._sleep)
                    for host in found.hosts
                )
            return self._endpoints[registry]

    def _adjusted(self, host: Host) -> Host:
        if host.stands_for:
            return host
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

    def _resolve_at(self, endpoint: _Endpoint, ref: Reference) -> Descriptor:
        url = self._url(endpoint.host, ref, f"manifests/{ref.digest or ref.tag}")
        for method in ("HEAD", "GET"):
            with self._get(endpoint, ref, url, method) as response:
                media_type = response.headers.get_content_type()
                declared = response.headers.get("Docker-Content-Digest", "")
                length = response.headers.get("Content-Length", "")
                if method == "HEAD" and not ((ref.digest or declared) and length.isdecimal()):
                    continue  # a server that says too little: read it and see
                if method == "GET":
                    data = response.document(images.MAX_DOCUMENT_BYTES)
                    media_type = images.media_type_of(images.parse_document(data), media_type)
                    wanted = ref.digest or (Digest.parse(declared) if declared else None)
                    if wanted and not wanted.verify(data):
                        raise DataLoss(
                            f"{endpoint.host.address} sent a manifest that is not {wanted}"
                        )
                    return Descriptor(media_type, wanted or digests.sha256(data), len(data))
            digest = Digest.parse(declared) if declared else ref.digest
            if digest is None or (ref.digest and digest != ref.digest):
                raise DataLoss(f"{endpoint.host.address} answers with {digest} for {ref.digest}")
            return Descriptor(_document_type(media_type), digest, int(length))
        raise AssertionError("unreachable")

    def fetch(self, reference: str, descriptor: Descriptor, offset: int = 0) -> Stream:
        """Content from *offset* on (or from before, as ``offset`` of the stream then says).

        The bytes are not checked here: who stores them does. Raises NotFound, PermissionDenied,
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
        self, endpoint: _Endpoint, ref: Reference, kind: str, descriptor: Descriptor, offset: int
    ) -> Stream:
        url = self._url(endpoint.host, ref, f"{kind}/{descriptor.digest}")
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
        if length is not None and length + start != descriptor.size:
            response.close()
            raise DataLoss(
                f"{endpoint.host.address} has {length + start} bytes for {descriptor.digest}, "
                f"its descriptor says {descriptor.size}"
            )
        return Stream(response, start)

    def tags(self, repository: str) -> list[str]:
        """The tags of ``host/name``; raises NotFound."""
        ref = Reference.parse(repository).checked()
        return self._each(ref, hosts.PULL, lambda e: list(self._tags_at(e, ref)), ref.locator)

    def _tags_at(self, endpoint: _Endpoint, ref: Reference) -> Iterator[str]:
        url = self._url(endpoint.host, ref, "tags/list")
        for _ in range(_MAX_PAGES):
            with self._get(endpoint, ref, url, "GET") as response:
                document = images.parse_document(response.document(_MAX_TAGS), _MAX_TAGS)
                link = response.headers.get("Link", "")
            tags = document.get("tags") or []
            if not isinstance(tags, list):
                raise Unavailable(f"{endpoint.host.address} sent a malformed list of tags")
            yield from (tag for tag in tags if isinstance(tag, str))
            if 'rel="next"' not in link or "<" not in link:
                return
            url = urljoin(url, link.partition("<")[2].partition(">")[0])
            if not url.startswith(f"{endpoint.host.url}/"):
                return

    def _get(
        self,
        endpoint: _Endpoint,
        ref: Reference,
        url: str,
        method: str,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """A good answer, or the error that the status means."""
        scope = f"repository:{ref.repository}:pull"
        response = endpoint.request(method, url, scope, {"Accept": _ACCEPT, **(headers or {})})
        if response.status in (200, 206) or (response.status == 416 and headers):
            return response
        raise _failure(endpoint.host, response, ref)

    def _each(
        self, ref: Reference, capability: str, ask: Callable[[_Endpoint], Answer], what: str
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

    def _url(self, host: Host, ref: Reference, rest: str) -> str:
        query = f"?{urlencode({'ns': host.stands_for})}" if host.stands_for else ""
        return f"{host.url}{host.path}/{ref.repository}/{rest}{query}"

    # Writing.

    def push(
        self,
        reference: str,
        descriptor: Descriptor,
        open_content: Callable[[], BinaryIO],
        *,
        source: str = "",
    ) -> bool:
        """Upload content to the repository of *reference*; False when it was there already.

        A manifest gets the tag of *reference*, if it is the one meant by it. A blob that the
        registry has in the repository *source* is mounted instead of sent.
        """
        ref = Reference.parse(reference).checked()
        endpoint = next(
            (e for e in self._for(ref.hostname) if hosts.PUSH in e.host.capabilities), None
        )
        if endpoint is None:
            raise NotFound(f"no host for {ref.hostname} may push (hosts.toml): not found")
        if descriptor.media_type in _BY_MANIFEST:
            return self._push_manifest(endpoint, ref, descriptor, open_content)
        return self._push_blob(endpoint, ref, descriptor, open_content, source)

    def _push_manifest(
        self,
        endpoint: _Endpoint,
        ref: Reference,
        descriptor: Descriptor,
        open_content: Callable[[], BinaryIO],
    ) -> bool:
        name = ref.tag or str(descriptor.digest)
        with open_content() as file:
            data = file.read(images.MAX_DOCUMENT_BYTES + 1)
        if not descriptor.digest.verify(data):
            raise DataLoss(f"content {descriptor.digest} is damaged")
        headers = {"Content-Type": descriptor.media_type}
        url = self._url(endpoint.host, ref, f"manifests/{name}")
        with endpoint.request("PUT", url, _push_scope(ref), headers, data) as response:
            if response.status not in (200, 201, 202):
                raise _failure(endpoint.host, response, ref)
        return True

    def _push_blob(
        self,
        endpoint: _Endpoint,
        ref: Reference,
        descriptor: Descriptor,
        open_content: Callable[[], BinaryIO],
        source: str,
    ) -> bool:
        scope = _push_scope(ref)
        url = self._url(endpoint.host, ref, f"blobs/{descriptor.digest}")
        with endpoint.request("HEAD", url, scope, {}) as response:
            if response.status == 200:
                return False
        start = self._url(endpoint.host, ref, "blobs/uploads/")
        if source:
            start += f"?{urlencode({'mount': descriptor.digest, 'from': source})}"
        with endpoint.request("POST", start, scope, {"Content-Length": "0"}) as response:
            if response.status == 201:
                return False  # mounted
            if response.status != 202:
                raise _failure(endpoint.host, response, ref)
            place = urljoin(response.url, response.headers.get("Location", ""))
        place += f"{'&' if '?' in place else '?'}digest={quote(descriptor.digest)}"
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(descriptor.size),
        }
        with (
            open_content() as file,
            endpoint.request("PUT", place, scope, headers, file, retry=False) as response,
        ):
            if response.status not in (201, 204):
                raise _failure(endpoint.host, response, ref)
        return True


def _push_scope(ref: Reference) -> str:
    return f"repository:{ref.repository}:pull,push"


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


def _failure(host: Host, response: Response, ref: Reference) -> Error:
    """What a status that is no success means, with the registry's own words."""
    try:
        words = _words(response.document(_MAX_ERROR))
    except Error:
        words = ""
    said = f": {words}" if words else ""
    status = response.status
    if status == 404:
        return NotFound(
            f"{ref}: not found", hint="check name and tag" if not host.stands_for else ""
        )
    if status in (401, 403):
        return PermissionDenied(
            f"{host.address} refuses access to {ref.repository}{said}", hint=login_hint(False)
        )
    return Unavailable(f"{host.address} answered {status} for {ref}{said}")


def _words(body: bytes) -> str:
    """The messages of an error document (OCI distribution spec, "Error Codes"), on one line."""
    try:
        errors = json.loads(body)["errors"]
        texts = [str(error.get("message") or error["code"]) for error in errors]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    text = ", ".join(texts)
    return "".join(c if c.isprintable() else " " for c in text)[:300]
