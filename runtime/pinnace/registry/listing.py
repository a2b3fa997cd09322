"""What a host lists: tags, repositories, and what refers to a manifest; and deleting of those.

Source: OCI distribution spec 1.1 ("Listing Tags", "Listing Referrers", "Deleting Manifests"), and the
distribution project's API documentation for the catalog.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode, urljoin

from pinnace.errors import Unavailable, Unimplemented
from pinnace.registry.endpoint import failure
from pinnace.registry.transport import address_of
from pinnace.registry.upload import referrers_tag
from pinnace.spec import image as images

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pinnace.registry.endpoint import Endpoint
    from pinnace.registry.transport import Response
    from pinnace.spec.digest import Digest
    from pinnace.spec.image import Descriptor
    from pinnace.spec.reference import Reference

_MAX_PAGE = 1 << 22
_MAX_PAGES = 1000
_PAGE = 1000


def tags(endpoint: Endpoint, ref: Reference) -> Iterator[str]:
    """The tags of a repository, page by page; raises NotFound."""
    url = endpoint.url(ref, "tags/list")
    for page in _pages(endpoint, url, pull_scope(ref), ref):
        yield from _words(page, "tags", endpoint)


def catalog(endpoint: Endpoint) -> Iterator[str]:
    """The repositories of a registry, as far as it tells."""
    url = endpoint.url_of(f"_catalog?n={_PAGE}")
    for page in _pages(endpoint, url, "registry:catalog:*", "its catalog"):
        yield from _words(page, "repositories", endpoint)


def referrers(
    endpoint: Endpoint, ref: Reference, digest: Digest, artifact_type: str = ""
) -> list[Descriptor]:
    """The manifests whose subject is *digest*; of one type, if that is given.

    Where the registry has no API for it the index under the tag ``sha256-<hex>`` is read.
    """
    query = f"?{urlencode({'artifactType': artifact_type})}" if artifact_type else ""
    url = endpoint.url(ref, f"referrers/{digest}{query}")
    found: list[Descriptor] = []
    with _get(endpoint, url, pull_scope(ref)) as response:
        status = response.status
        missing = status in (404, 405)
        if status not in (200, 404, 405):
            raise failure(endpoint.host, response, ref)
    if missing:
        found = _tagged_referrers(endpoint, ref, digest)
    else:
        for page in _pages(endpoint, url, pull_scope(ref), ref):
            found += images.parse_index(images.dump(page), images.OCI_INDEX).manifests
    return [item for item in found if artifact_type in ("", item.artifact_type)]


def _tagged_referrers(endpoint: Endpoint, ref: Reference, digest: Digest) -> list[Descriptor]:
    url = endpoint.url(ref, f"manifests/{referrers_tag(digest)}")
    with _get(endpoint, url, pull_scope(ref)) as response:
        if response.status == 404:
            return []
        if response.status != 200:
            raise failure(endpoint.host, response, ref)
        return list(images.parse_index(response.document(images.MAX_DOCUMENT_BYTES)).manifests)


def delete_manifest(endpoint: Endpoint, ref: Reference, digest: Digest) -> None:
    """Remove a manifest, with all tags that mean it.

    Raises NotFound, Unimplemented where the registry does not allow it.
    """
    url = endpoint.url(ref, f"manifests/{digest}")
    with endpoint.request("DELETE", url, f"repository:{ref.repository}:*", {}) as response:
        if response.status == 405:
            raise Unimplemented(
                f"{endpoint.host.address} does not allow images to be deleted",
                hint="docker-registry needs storage.delete.enabled: true in its configuration",
            )
        if response.status not in (200, 202):
            raise failure(endpoint.host, response, ref)


def pull_scope(ref: Reference) -> str:
    """The scope for reading a repository."""
    return f"repository:{ref.repository}:pull"


def _get(endpoint: Endpoint, url: str, scope: str) -> Response:
    accept = f"application/json, {images.OCI_INDEX}, {images.DOCKER_INDEX}"
    return endpoint.request("GET", url, scope, {"Accept": accept})


def _pages(
    endpoint: Endpoint, url: str, scope: str, what: Reference | str
) -> Iterator[dict[str, object]]:
    """The documents of a paged list (RFC 8288 ``Link: <...>; rel="next"``), on the same host."""
    seen = set()
    for _ in range(_MAX_PAGES):
        seen.add(url)
        with _get(endpoint, url, scope) as response:
            if response.status != 200:
                raise failure(endpoint.host, response, what)
            yield images.parse_document(response.document(_MAX_PAGE), _MAX_PAGE)
            link = response.headers.get("Link", "")
        if 'rel="next"' not in link.replace("rel=next", 'rel="next"') or "<" not in link:
            return
        following = urljoin(url, link.partition("<")[2].partition(">")[0])
        if following in seen or address_of(following) != address_of(url):
            return
        url = following
    raise Unavailable(f"{endpoint.host.address} sends a list of more than {_MAX_PAGES} pages")


def _words(page: dict[str, object], key: str, endpoint: Endpoint) -> Iterator[str]:
    words = page.get(key) or []
    if not isinstance(words, list):
        raise Unavailable(f"{endpoint.host.address} sent a malformed list of {key}")
    for word in words:
        if isinstance(word, str) and word.isprintable() and len(word) <= 255:
            yield word
