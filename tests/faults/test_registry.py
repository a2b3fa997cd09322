"""Registries that fail, between Debian's docker-registry and each of our clients.

Promises: what can pass passes; what cannot is one clear line; nothing corrupt is ever visible.
"""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from pinnace.cli import skopeo
from pinnace.errors import Error, PermissionDenied
from pinnace.images import fetch
from pinnace.images.pull import pull
from pinnace.registry import transport
from pinnace.registry.resolver import Resolver
from pinnace.spec import image as images
from pinnace.spec import platform as platforms
from pinnace.spec.digest import sha256
from pinnace.store.store import Store
from tests import faultproxy
from tests.faultproxy import Answer, FaultProxy, Handler, times
from tests.images import TestImage, rootfs
from tests.layers import LayerBuilder
from toolkit.lab.server import RegistryServer

pytestmark = pytest.mark.peer
NS = "default"
ARMV6 = platforms.parse("linux/arm/v6")
IMAGE = TestImage(layers=[LayerBuilder().add("big", os.urandom(300_000)).bytes()])


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience in tenths of seconds."""
    monkeypatch.setattr(transport, "_FIRST_DELAY", 0.01)
    monkeypatch.setattr(transport, "READ_SECONDS", 0.2)
    monkeypatch.setattr(fetch, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(Resolver, "pause", lambda _self, _attempt: None)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "store")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with RegistryServer(tmp_path_factory.mktemp("registry")) as running:
        IMAGE.push(Resolver(), f"{running.host}/library/a:1")
        yield running


@pytest.fixture
def proxy(server: RegistryServer) -> Iterator[FaultProxy]:
    with FaultProxy(server.host) as running:
        yield running


PASSING = {
    "reset": times(2, faultproxy.reset_halfway),
    "cut short": times(2, faultproxy.cut_short),
    "garbage": times(1, faultproxy.garbage),
    "stalling": times(1, faultproxy.stalling),
    "429": times(1, faultproxy.status(429, Retry_After="0")),
    "500": times(2, faultproxy.status(500)),
    "503": times(1, faultproxy.status(503, Retry_After="0")),
    "too small a length": times(1, faultproxy.shorter_length),
}
LASTING = {
    "reset": (faultproxy.reset_halfway, "broke|closed the connection|reset"),
    "cut short": (faultproxy.cut_short, "bytes too early"),
    "altered": (faultproxy.altered, "corrupt|another digest"),
    "longer": (faultproxy.longer, "its descriptor says"),
    "too small a length": (faultproxy.shorter_length, "its descriptor says"),
    "stalling": (faultproxy.stalling, "too slowly|timed out|too early|broke"),
    "garbage": (faultproxy.garbage, "cannot reach|broke"),
    "429": (faultproxy.status(429), "too many requests"),
    "500": (faultproxy.status(500), "answered 500"),
    "503": (faultproxy.status(503), "answered 503"),
    "404": (faultproxy.status(404), "not found"),
    "403": (faultproxy.status(403), "refuses access"),
}


@pytest.mark.root
@pytest.mark.parametrize("name", [n for n in PASSING if n != "too small a length"])
def test_a_pull_survives_what_passes(store: Store, proxy: FaultProxy, name: str) -> None:
    proxy.faults.append(PASSING[name])
    pull(store, NS, f"{proxy.host}/library/a:1", Resolver(), platform=ARMV6)
    assert rootfs(store)["platform"] == b"linux/arm/v6"


@pytest.mark.parametrize("name", LASTING)
def test_a_pull_that_fails_shows_nothing(store: Store, proxy: FaultProxy, name: str) -> None:
    fault, words = LASTING[name]
    proxy.faults.append(fault)
    with pytest.raises(Error, match=words) as caught:
        pull(store, NS, f"{proxy.host}/library/a:1", Resolver(), platform=ARMV6, unpack=False)
    _is_one_line(caught.value)
    assert store.images.list(NS) == []
    for info in store.content.walk(NS):
        with store.content.open(NS, info.digest) as file:
            assert sha256(file.read()) == info.digest


@pytest.mark.parametrize("name", LASTING)
@pytest.mark.parametrize("kind", ["oci", "oci-archive", "docker-archive", "dir"])
def test_a_copy_that_fails_shows_nothing(
    tmp_path: Path, proxy: FaultProxy, kind: str, name: str
) -> None:
    fault, words = LASTING[name]
    proxy.faults.append(fault)
    with pytest.raises(Error, match=words) as caught:
        skopeo.main(["copy", f"docker://{proxy.host}/library/a:1", f"{kind}:{tmp_path}/x"])
    _is_one_line(caught.value)
    left = [path for path in (tmp_path / "x").rglob("*") if path.is_file()]
    assert not (tmp_path / "x").is_file()
    for path in left:
        assert sha256(path.read_bytes()).hex == path.name, path


def test_a_copy_survives_what_passes(tmp_path: Path, proxy: FaultProxy) -> None:
    proxy.faults += [fault for name, fault in PASSING.items() if name != "too small a length"]
    proxy.faults += [times(2, faultproxy.reset_halfway)]
    assert (
        skopeo.main(["copy", "--all", f"docker://{proxy.host}/library/a:1", f"oci:{tmp_path}/x"])
        == 0
    )
    for path in (tmp_path / "x" / "blobs" / "sha256").iterdir():
        assert sha256(path.read_bytes()).hex == path.name


def _is_one_line(error: Error) -> None:
    assert str(error).isprintable()
    assert len(str(error)) < 500


def test_what_was_fetched_before_is_not_asked_for_again(tmp_path: Path, proxy: FaultProxy) -> None:
    proxy.faults.append(times(1, faultproxy.cut_short))
    skopeo.main(["copy", f"docker://{proxy.host}/library/a:1", f"oci:{tmp_path}/x"])
    ranges = [headers["Range"] for _, _, headers in proxy.seen if "Range" in headers]
    assert len(ranges) == 1
    assert int(ranges[0].removeprefix("bytes=").removesuffix("-")) > 0


def test_retry_after_is_kept(proxy: FaultProxy, tmp_path: Path) -> None:
    proxy.faults.append(times(1, faultproxy.status(503, Retry_After="1")))
    before = time.monotonic()
    skopeo.main(["copy", f"docker://{proxy.host}/library/a:1", f"oci:{tmp_path}/x"])
    assert time.monotonic() - before > 0.9


# Uploads.


def broken_upload(count: int) -> faultproxy.Fault:
    """The first *count* uploads are lost on their way."""
    left = [count]

    def fault(handler: Handler, answer: Answer) -> bool:
        if handler.command != "PUT" or "/uploads/" not in handler.path or not left[0]:
            return False
        left[0] -= 1
        handler.reset()
        return True

    return fault


def test_an_upload_starts_again(tmp_path: Path, proxy: FaultProxy, server: RegistryServer) -> None:
    skopeo.main(["copy", f"docker://{server.host}/library/a:1", f"oci:{tmp_path}/x"])
    proxy.faults.append(broken_upload(2))
    assert skopeo.main(["copy", f"oci:{tmp_path}/x", f"docker://{proxy.host}/up/a:1"]) == 0
    assert skopeo.main(["copy", f"docker://{server.host}/up/a:1", f"dir:{tmp_path}/d"]) == 0


def test_an_upload_that_always_breaks_leaves_no_tag(
    tmp_path: Path, proxy: FaultProxy, server: RegistryServer
) -> None:
    skopeo.main(["copy", f"docker://{server.host}/library/a:1", f"oci:{tmp_path}/x"])
    proxy.faults.append(broken_upload(1000))
    with pytest.raises(Error, match="cannot reach") as caught:
        skopeo.main(["copy", f"oci:{tmp_path}/x", f"docker://{proxy.host}/never/a:1"])
    _is_one_line(caught.value)
    with pytest.raises(Error, match="not found"):
        Resolver().resolve(f"{server.host}/never/a:1")


# Credentials.


def test_another_host_gets_no_credentials(
    tmp_path: Path, server: RegistryServer, proxy: FaultProxy
) -> None:
    """Blobs are redirected to another host, as registries with object stores do."""

    def redirect(handler: Handler, answer: Answer) -> bool:
        if not faultproxy.is_blob(handler, answer):
            return False
        handler.reply(307, {"Location": f"http://{storage.host}{handler.path}"}, b"")
        return True

    with FaultProxy(server.host) as storage:
        proxy.faults.append(redirect)
        proxy.before.append(_wants("Basic cGk6cg==", 'Basic realm="x"'))
        words = ["copy", "--src-creds=pi:r", f"docker://{proxy.host}/library/a:1"]
        assert skopeo.main([*words, f"oci:{tmp_path}/x"]) == 0
    assert len(storage.seen) > 1
    assert all("Authorization" not in headers for _, _, headers in storage.seen)
    assert any(headers.get("Authorization") for _, _, headers in proxy.seen)


def test_an_upload_to_another_host_gets_no_credentials(
    tmp_path: Path, server: RegistryServer, proxy: FaultProxy
) -> None:
    skopeo.main(["copy", f"docker://{server.host}/library/a:1", f"oci:{tmp_path}/x"])

    def elsewhere(handler: Handler, answer: Answer) -> bool:
        if handler.command != "POST" or answer.status != 202:
            return False
        parts = urlsplit(answer.headers["Location"])
        place = f"http://{storage.host}{parts.path}?{parts.query}"
        handler.reply(202, {**answer.headers, "Location": place}, b"")
        return True

    with FaultProxy(server.host) as storage:
        proxy.faults.append(elsewhere)
        proxy.before.append(_wants("Basic cGk6cg==", 'Basic realm="x"'))
        words = ["copy", "--dest-creds=pi:r", f"oci:{tmp_path}/x", f"docker://{proxy.host}/up/b:1"]
        assert skopeo.main(words) == 0
    assert any(method == "PUT" for method, _, _ in storage.seen)
    assert all("Authorization" not in headers for _, _, headers in storage.seen)


def _wants(authorization: str, challenge: str):  # type: ignore[no-untyped-def]
    def check(handler: Handler) -> bool:
        if handler.headers.get("Authorization") == authorization:
            return False
        handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        handler.reply(401, {"WWW-Authenticate": challenge}, b"{}")
        return True

    return check


class TokenServer:
    """Gives tokens, and lets the proxy take only those that are still good."""

    def __init__(self, proxy: FaultProxy, *, uses: int) -> None:
        """Each token is good for *uses* requests, whatever its answer said."""
        self.asked: list[dict[str, list[str]]] = []
        self._uses = uses
        self._left: dict[str, int] = {}
        self._lock = threading.Lock()
        self._proxy = proxy
        proxy.before.append(self._see)

    def _see(self, handler: Handler) -> bool:
        parts = urlsplit(handler.path)
        if parts.path == "/token":
            self._give(handler, parse_qs(parts.query))
            return True
        token = (handler.headers.get("Authorization") or "").removeprefix("Bearer ")
        with self._lock:
            if self._left.get(token, 0) > 0:
                self._left[token] -= 1
                return False
        handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        realm = f"http://{self._proxy.host}/token"
        challenge = f'Bearer realm="{realm}",service="lab",scope="repository:library/a:pull"'
        handler.reply(401, {"WWW-Authenticate": challenge}, b"{}")
        return True

    def _give(self, handler: Handler, query: dict[str, list[str]]) -> None:
        self.asked.append(query)
        login = base64.b64encode(b"pi:r").decode()
        if handler.headers.get("Authorization") != f"Basic {login}":
            handler.reply(401, {}, b'{"details":"no"}')
            return
        with self._lock:
            token = f"token{len(self.asked)}"
            self._left[token] = self._uses
        handler.reply(200, {}, json.dumps({"token": token, "expires_in": 3600}).encode())


def test_tokens_that_expire_early_are_renewed(tmp_path: Path, proxy: FaultProxy) -> None:
    tokens = TokenServer(proxy, uses=3)
    words = ["copy", "--all", "--src-creds=pi:r", "--image-parallel-copies=1"]
    assert skopeo.main([*words, f"docker://{proxy.host}/library/a:1", f"oci:{tmp_path}/x"]) == 0
    assert len(tokens.asked) > 1
    assert tokens.asked[0] == {"service": ["lab"], "scope": ["repository:library/a:pull"]}


def test_tokens_for_pushing_and_mounting(proxy: FaultProxy) -> None:
    tokens = TokenServer(proxy, uses=1000)
    words = ["copy", "--all", "--src-creds=pi:r", "--dest-creds=pi:r"]
    copied = [f"docker://{proxy.host}/library/a:1", f"docker://{proxy.host}/other/b:1"]
    assert skopeo.main([*words, *copied]) == 0
    scopes = {tuple(query["scope"]) for query in tokens.asked}
    assert ("repository:other/b:pull,push", "repository:library/a:pull") in scopes
    mounts = [path for method, path, _ in proxy.seen if method == "POST" and "mount=" in path]
    assert mounts
    assert not any(method == "PUT" and "/uploads/" in path for method, path, _ in proxy.seen)


@pytest.mark.parametrize("login", ["--src-creds=pi:wrong", "--src-no-creds"])
def test_a_token_server_that_refuses(tmp_path: Path, proxy: FaultProxy, login: str) -> None:
    TokenServer(proxy, uses=1000)
    with pytest.raises(PermissionDenied, match="gives no access for repository:library/a:pull"):
        skopeo.main(["copy", login, f"docker://{proxy.host}/library/a:1", f"oci:{tmp_path}/x"])


def test_tokens_that_are_never_good_end(tmp_path: Path, proxy: FaultProxy) -> None:
    tokens = TokenServer(proxy, uses=0)
    with pytest.raises(PermissionDenied, match="wants a login"):
        skopeo.main(["copy", "--src-creds=pi:r", f"docker://{proxy.host}/library/a:1", f"oci:{tmp_path}/x"])  # fmt: skip
    assert len(tokens.asked) < 10


# The rest of the API.


def test_catalog_tags_and_referrers(proxy: FaultProxy) -> None:
    resolver = Resolver()
    repository = f"{proxy.host}/refs/x"
    IMAGE.push(resolver, f"{repository}:1")
    assert "refs/x" in resolver.catalog(proxy.host)
    subject = IMAGE.root
    _attach(resolver, repository, subject, "application/vnd.test.sbom")
    _attach(resolver, repository, subject, "application/vnd.test.other")
    found = resolver.referrers(repository, subject.digest)
    assert {item.artifact_type for item in found} == {
        "application/vnd.test.sbom", "application/vnd.test.other",
    }  # fmt: skip
    only = resolver.referrers(repository, subject.digest, "application/vnd.test.sbom")
    assert len(only) == 1
    assert resolver.referrers(repository, sha256(b"nothing")) == []


def _attach(
    resolver: Resolver, repository: str, subject: images.Descriptor, artifact_type: str
) -> None:
    from pinnace.images.transports.registry import Bytes

    empty = images.Descriptor("application/vnd.oci.empty.v1+json", sha256(b"{}"), 2)
    resolver.push(f"{repository}@{empty.digest}", empty, lambda: Bytes(b"{}"))
    data = images.dump(
        {
            "schemaVersion": 2,
            "mediaType": images.OCI_MANIFEST,
            "artifactType": artifact_type,
            "config": empty.to_json(),
            "layers": [empty.to_json()],
            "subject": subject.to_json(),
        }
    )
    made = images.Descriptor(images.OCI_MANIFEST, sha256(data), len(data))
    resolver.push(f"{repository}@{made.digest}", made, lambda: Bytes(data))


def test_many_tags_come_in_pages(proxy: FaultProxy) -> None:
    """A registry that gives ten at a time (OCI distribution spec, "Listing Tags", Link)."""
    resolver = Resolver()
    for number in range(25):
        IMAGE.push(resolver, f"{proxy.host}/pages/x:t{number:02}")

    def in_pages(handler: Handler, answer: Answer) -> bool:
        parts = urlsplit(handler.path)
        if not parts.path.endswith("/tags/list"):
            return False
        last = parse_qs(parts.query).get("last", [""])[0]
        tags = [tag for tag in sorted(json.loads(answer.body)["tags"]) if tag > last]
        link = f'<{parts.path}?n=10&last={tags[9]}>; rel="next"' if len(tags) > 10 else ""
        body = json.dumps({"name": "pages/x", "tags": tags[:10]}).encode()
        handler.reply(200, {"Link": link} if link else {}, body)
        return True

    proxy.faults.append(in_pages)
    assert resolver.tags(f"{proxy.host}/pages/x") == [f"t{number:02}" for number in range(25)]
    pages = [path for _, path, _ in proxy.seen if "/tags/list" in path]
    assert len(pages) == 3
