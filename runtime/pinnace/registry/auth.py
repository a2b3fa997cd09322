"""Proving who we are to a registry: Basic, and Bearer tokens from a token server.

Sources: RFC 9110 section 11 (challenges), the distribution project's "Token Authentication
Specification". Tokens are kept per host and scope until shortly before they end.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

from pinnace.errors import PermissionDenied, Unavailable
from pinnace.registry.transport import address_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pinnace.registry.hosts import Host
    from pinnace.registry.transport import Client

    Credentials = Callable[[str], tuple[str, str]]
    """Given a registry host, the user name and the password or token; both may be empty."""

_PARAMETER = re.compile(r'([a-zA-Z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_MAX_ANSWER = 1 << 20
IDENTITY = "<token>"
"""The user name of who has an identity token instead of a password."""
_SPARE_SECONDS = 10
_DEFAULT_SECONDS = 60  # the specification's, when a token server does not say


class Challenge(NamedTuple):
    """One ``WWW-Authenticate`` challenge: the scheme in lower case and its parameters."""

    scheme: str
    parameters: dict[str, str]


def parse_challenges(values: list[str]) -> list[Challenge]:
    """The challenges of ``WWW-Authenticate`` headers; what cannot be read is passed over."""
    found = []
    for value in values:
        for part in re.split(r",\s*(?=[A-Za-z]+\s+[A-Za-z0-9_-]+\s*=)", value):
            scheme, _, rest = part.strip().partition(" ")
            parameters = {
                match[1].lower(): match[3]
                if match[2] is None
                else re.sub(r"\\(.)", r"\1", match[2])
                for match in _PARAMETER.finditer(rest)
            }
            if scheme:
                found.append(Challenge(scheme.lower(), parameters))
    return found


class Authorizer:
    """The ``Authorization`` header for requests to one host."""

    def __init__(self, host: Host, client: Client, credentials: Credentials | None) -> None:
        self._host = host
        self._client = client
        self._credentials = credentials
        self._basic = False
        self._tokens: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def header(self, scope: str) -> str:
        """What to send before being asked: nothing, unless the host has asked before."""
        with self._lock:
            return self._header(scope)

    def _header(self, scope: str) -> str:
        if self._basic:
            return self._basic_header()
        token, until = self._tokens.get(scope, ("", 0.0))
        return f"Bearer {token}" if token and time.monotonic() < until else ""

    def answer(self, challenges: list[Challenge], scope: str, refused: str) -> bool:
        """React to a 401; False when there is nothing (else) that could be tried.

        *refused* is the header that was sent. When another thread got something newer meanwhile,
        that is tried. Raises PermissionDenied when the token server refuses, Unavailable when it
        fails.
        """
        with self._lock:
            now = self._header(scope)
            if now and now != refused:
                return True
            if refused.startswith("Bearer "):
                self._tokens.pop(scope, None)
            for challenge in challenges:
                if challenge.scheme == "bearer":
                    self._tokens[scope] = self._fetch_token(challenge.parameters, scope)
                    return True
                if challenge.scheme == "basic" and not self._basic and self._basic_header():
                    self._basic = True
                    return True
        return False

    def _login(self) -> tuple[str, str]:
        return self._credentials(self._host.address) if self._credentials else ("", "")

    def _basic_header(self) -> str:
        user, secret = self._login()
        if not user and not secret:
            return ""
        return "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()

    def _fetch_token(self, parameters: dict[str, str], scope: str) -> tuple[str, float]:
        realm = parameters.get("realm", "")
        if address_of(realm).scheme != "https" and self._host.scheme == "https":
            raise Unavailable(f"token server of {self._host.address} is not on TLS: refused")
        query = [("service", parameters["service"])] if parameters.get("service") else []
        wanted = scope or parameters.get("scope", "")
        query += [("scope", part) for part in wanted.split(" ") if part]
        url = realm + ("&" if "?" in realm else "?") + urlencode(query)
        user, secret = self._login()
        basic = self._basic_header()
        headers = {"Accept": "application/json", **({"Authorization": basic} if basic else {})}
        form = None
        if user == IDENTITY:
            # An identity token is changed for one by OAuth 2 ("Token Authentication", oauth).
            fields = [("grant_type", "refresh_token"), ("refresh_token", secret)]
            form = urlencode([*fields, ("client_id", "pinnace"), *query]).encode()
            headers = {
                "Accept": "application/json",
                "Content-Type": "application/x-www-form-urlencoded",
            }
            url = realm
        with self._client.request("POST" if form else "GET", url, headers, form) as response:
            body = response.document(_MAX_ANSWER)
        if response.status in (400, 401, 403):
            raise PermissionDenied(
                f"{self._host.address} gives no access for {wanted or 'this request'}",
                hint=login_hint(bool(basic)),
            )
        if response.status != 200:
            raise Unavailable(f"token server {realm} answered {response.status}")
        return _token_of(body, realm)


def login_hint(had_login: bool) -> str:
    """What to do about a refusal."""
    if had_login:
        return "check user name and password (ctr: --user NAME:PASSWORD, skopeo login)"
    return "does the image exist, and is it private? Then log in (ctr: --user NAME:PASSWORD, skopeo login)"


def _token_of(body: bytes, realm: str) -> tuple[str, float]:
    try:
        answer = json.loads(body)
        token = answer.get("token") or answer["access_token"]
        seconds = float(answer.get("expires_in") or _DEFAULT_SECONDS)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Unavailable(f"token server {realm} gave an answer without a token") from None
    if not isinstance(token, str) or not token.isprintable():
        raise Unavailable(f"token server {realm} gave an unusable token")
    return token, time.monotonic() + max(seconds - _SPARE_SECONDS, _SPARE_SECONDS)
