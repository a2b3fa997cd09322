"""One host of a registry: its connections, its tokens, and its failures in words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from pinnace.errors import Error, NotFound, PermissionDenied, Unavailable
from pinnace.registry.auth import Authorizer, login_hint, parse_challenges
from pinnace.registry.transport import Client, Response, address_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pinnace.registry.auth import Credentials
    from pinnace.registry.hosts import Host
    from pinnace.registry.upload import Open
    from pinnace.spec.reference import Reference

_MAX_ERROR = 1 << 16


class Endpoint:
    """A host with its connections and its tokens."""

    def __init__(self, host: Host, credentials: Credentials | None, sleep: float) -> None:
        self.host = host
        self.client = Client(host, sleep=sleep)
        self.authorizer = Authorizer(host, self.client, credentials)
        self._address = address_of(host.url)

    def request(
        self,
        method: str,
        url: str,
        scope: str,
        headers: Mapping[str, str],
        body: bytes | Open | None = None,
        *,
        retry: bool = True,
    ) -> Response:
        """Send with credentials, answering the host's challenges; a *body* is opened each time.

        Another host than ours, which an upload may be sent to, gets no credentials and no headers
        that were meant for this one.
        """
        if address_of(url) != self._address:
            return self._send(method, url, headers, body, retry)
        for _ in range(3):
            token = self.authorizer.header(scope)
            login = {"Authorization": token} if token else {}
            sent = {**dict(self.host.headers), **headers, **login}
            response = self._send(method, url, sent, body, retry)
            if response.status != 401:
                return response
            challenges = parse_challenges(response.headers.get_all("WWW-Authenticate") or [])
            response.close()
            if not self.authorizer.answer(challenges, scope, token):
                break
        raise PermissionDenied(f"{self.host.address} wants a login", hint=login_hint(bool(token)))

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Open | None,
        retry: bool,
    ) -> Response:
        if body is None or isinstance(body, bytes):
            return self.client.request(method, url, headers, body, retry=retry)
        content = body()
        try:
            return self.client.request(method, url, headers, content, retry=False)
        finally:
            content.close()

    def url(self, ref: Reference, rest: str) -> str:
        """The address of *rest* (``manifests/latest``) below the repository."""
        return self.url_of(f"{ref.repository}/{rest}")

    def url_of(self, rest: str) -> str:
        """The address of *rest* below the host's ``/v2/``."""
        mark = "&" if "?" in rest else "?"
        query = f"{mark}{urlencode({'ns': self.host.stands_for})}" if self.host.stands_for else ""
        return f"{self.host.url}{self.host.path}/{rest}{query}"


def failure(host: Host, response: Response, ref: Reference | str) -> Error:
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
            f"{host.address} refuses access to {_place(ref)}{said}", hint=login_hint(False)
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


def _place(ref: Reference | str) -> str:
    return ref if isinstance(ref, str) else ref.repository
