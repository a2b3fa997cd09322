"""The registry client and pulls against every fault a registry was seen to have."""

from __future__ import annotations

import base64
import json
import os
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinnace.errors import (
    Aborted,
    DataLoss,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
    Unimplemented,
)
from pinnace.images import fetch
from pinnace.images.progress import Progress
from pinnace.images.pull import pull
from pinnace.registry import auth, tls, transport
from pinnace.registry.hosts import Host
from pinnace.registry.resolver import Resolver
from pinnace.spec import image as images
from pinnace.spec import platform as platforms
from pinnace.store.blobs import Ingest
from pinnace.store.images import Image
from pinnace.store.store import Store
from tests.fakeregistry import FakeRegistry, Handler
from tests.images import TestImage, rootfs
from tests.layers import LayerBuilder
from toolkit.lab.authority import Authority

NS = "default"
BIG = os.urandom(900_000)
IMAGE = TestImage(["linux/arm/v6"], [LayerBuilder().add("big", BIG).bytes()])
LAYER = next(item for item, _ in IMAGE.blobs if images.is_layer(item.media_type))


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry(IMAGE) as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "store")
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_FIRST_DELAY", 0.01)
    monkeypatch.setattr(fetch, "PAUSE_SECONDS", 0.01)


def get(store: Store, registry: FakeRegistry, **options: object) -> Image:
    options.setdefault("platform", platforms.parse("linux/arm/v6"))
    resolver = options.pop("resolver", None) or Resolver(sleep=0.01)
    try:
        return pull(store, NS, registry.reference, resolver, **options)  # type: ignore[arg-type]
    finally:
        resolver.close()  # type: ignore[attr-defined]


def nothing_is_visible(store: Store) -> bool:
    no_images = store.images.list(NS) == []
    no_snapshots = list(store.snapshotter().walk(NS)) == []
    no_directories = os.listdir(os.path.join(store.snapshotter().root, "snapshots")) == []
    whole = all(store.content.blobs.verify(digest) for digest in store.content.blobs.walk())
    return no_images and no_snapshots and no_directories and whole and not store.leases.list(NS)


def test_a_pull(store: Store, registry: FakeRegistry) -> None:
    seen: list[Progress] = []
    made = get(store, registry, report=seen.append)
    assert (made.name, made.target.digest) == (registry.reference, IMAGE.root.digest)
    assert rootfs(store)["big"] == BIG
    assert store.leases.list(NS) == []
    events = [item.event for item in seen]
    assert events[0] == "resolving"
    assert events[-1] == "saved"
    assert {"resolved", "downloading", "complete", "extracting", "extracted"} <= set(events)
    labels = store.content.info(NS, IMAGE.root.digest).labels
    assert labels["containerd.io/gc.ref.content.m.0"] == IMAGE.manifests[0].digest
    assert labels["containerd.io/distribution.source.127.0.0.1"] == "library/x"


def test_a_second_pull_fetches_no_content(store: Store, registry: FakeRegistry) -> None:
    get(store, registry)
    registry.requests.clear()
    get(store, registry)
    assert [path for _, path, _ in registry.requests] == ["/v2/library/x/manifests/1"]


def test_one_durable_commit_for_all_of_it(
    store: Store, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable: list[bool] = []
    inner = store.db._outermost

    def counted() -> Iterator[object]:
        mode = store.db._writer.execute("PRAGMA synchronous").fetchone()[0]
        durable.append(mode == 2)
        yield from inner()

    monkeypatch.setattr(store.db, "_outermost", counted)
    get(store, registry)
    assert durable.count(True) == 1


def test_a_broken_download_goes_on_where_it_stopped(store: Store, registry: FakeRegistry) -> None:
    data = {item.digest: data for item, data in IMAGE.blobs}[LAYER.digest]

    def cut(handler: Handler, path: str) -> bool:
        if not path.endswith(LAYER.digest):
            return False
        handler.reply(200, data[:300_000], {"Content-Length": str(len(data))})
        handler.hang_up()
        return True

    registry.once(cut)
    get(store, registry)
    assert rootfs(store)["big"] == BIG
    ranges = [
        headers.get("Range")
        for _, path, headers in registry.requests
        if path.endswith(LAYER.digest)
    ]
    assert ranges == [None, "bytes=300000-"]


def test_a_server_without_ranges_is_asked_for_all_again(
    store: Store, registry: FakeRegistry
) -> None:
    data = {item.digest: data for item, data in IMAGE.blobs}[LAYER.digest]

    def cut(handler: Handler, path: str) -> bool:
        if not path.endswith(LAYER.digest):
            return False
        handler.reply(200, data[:300_000], {"Content-Length": str(len(data))})
        handler.hang_up()
        return True

    def whole(handler: Handler, path: str) -> bool:
        if not path.endswith(LAYER.digest):
            return False
        handler.reply(200, data)
        return True

    registry.once(cut)
    registry.faults.append(whole)
    get(store, registry)
    assert rootfs(store)["big"] == BIG


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_busy_server_is_asked_again(store: Store, registry: FakeRegistry, status: int) -> None:
    registry.once(lambda handler, path: handler.reply(status, b"", {"Retry-After": "1"}))
    get(store, registry)
    assert rootfs(store)["big"] == BIG


def test_too_many_requests_in_the_end(store: Store, registry: FakeRegistry) -> None:
    registry.faults.append(lambda handler, path: handler.reply(429))
    with pytest.raises(ResourceExhausted, match="too many requests"):
        get(store, registry)
    assert nothing_is_visible(store)


def altered(handler: Handler, path: str) -> bool:
    if not path.endswith(LAYER.digest):
        return False
    handler.reply(200, bytes(LAYER.size))
    return True


def test_a_corrupt_layer_is_refused(store: Store, registry: FakeRegistry) -> None:
    registry.faults.append(altered)
    with pytest.raises(DataLoss, match=f"sent a corrupt layer {LAYER.digest}"):
        get(store, registry)
    assert nothing_is_visible(store)
    registry.faults.clear()
    get(store, registry)
    assert rootfs(store)["big"] == BIG


def test_a_wrong_length_is_refused(store: Store, registry: FakeRegistry) -> None:
    def longer(handler: Handler, path: str) -> bool:
        if not path.endswith(LAYER.digest):
            return False
        handler.reply(200, bytes(LAYER.size + 1))
        return True

    registry.faults.append(longer)
    with pytest.raises(DataLoss, match="its descriptor says"):
        get(store, registry)
    assert nothing_is_visible(store)


def test_another_manifest_than_the_digest_says(store: Store, registry: FakeRegistry) -> None:
    manifest = IMAGE.manifests[0]

    def swap(handler: Handler, path: str) -> bool:
        if not path.endswith(manifest.digest):
            return False
        handler.reply(200, b"{" + b" " * (manifest.size - 2) + b"}")
        return True

    registry.faults.append(swap)
    with pytest.raises(DataLoss, match="corrupt manifest"):
        get(store, registry)
    assert nothing_is_visible(store)


@pytest.mark.parametrize("damage", [b"", b"short", bytes(LAYER.size)])
def test_a_damaged_copy_is_fetched_again(
    store: Store, registry: FakeRegistry, damage: bytes
) -> None:
    """What a power cut left of a layer, whose snapshot is gone, too."""
    get(store, registry)
    snapshotter = store.snapshotter()
    for info in sorted(snapshotter.walk(NS), key=lambda info: not info.parent):
        snapshotter.remove(NS, info.name)
    path = Path(store.content.blobs.path(LAYER.digest))
    path.chmod(0o600)
    path.write_bytes(damage)
    get(store, registry)
    assert store.content.blobs.verify(LAYER.digest)
    assert rootfs(store)["big"] == BIG


def test_no_such_image(store: Store, registry: FakeRegistry) -> None:
    with pytest.raises(NotFound, match="library/y:1: not found"):
        pull(store, NS, f"{registry.host}/library/y:1", Resolver())
    assert nothing_is_visible(store)


def test_no_image_for_the_platform(store: Store, registry: FakeRegistry) -> None:
    with pytest.raises(NotFound, match="no image for linux/arm/v5") as caught:
        get(store, registry, platform=platforms.parse("linux/arm/v5"))
    assert caught.value.hint == "it exists for linux/arm/v6"
    assert nothing_is_visible(store)


def test_a_single_manifest_for_another_platform(store: Store) -> None:
    with (
        FakeRegistry(TestImage(["linux/amd64"], indexed=False)) as registry,
        pytest.raises(NotFound, match="no image for linux/arm/v6"),
    ):
        get(store, registry)


def test_schema_1_is_refused_with_the_reason(store: Store, registry: FakeRegistry) -> None:
    kind = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    headers = {"Content-Type": kind, "Docker-Content-Digest": str(IMAGE.root.digest)}
    registry.faults.append(lambda handler, path: handler.reply(200, b"{}", headers))
    with pytest.raises(Unimplemented, match="schema 1"):
        get(store, registry)


def test_a_stopped_pull_leaves_nothing_visible(store: Store, registry: FakeRegistry) -> None:
    stop = threading.Event()

    def report(step: Progress) -> None:
        if (
            step.event == "downloading"
            and step.descriptor
            and images.is_layer(step.descriptor.media_type)
        ):
            stop.set()

    with pytest.raises(Aborted):
        get(store, registry, report=report, stop=stop)
    assert nothing_is_visible(store)


def test_two_pulls_at_once_share_the_work(store: Store, registry: FakeRegistry) -> None:
    threads = [threading.Thread(target=get, args=(store, registry)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert rootfs(store)["big"] == BIG
    gets = [path for method, path, _ in registry.requests if path.endswith(LAYER.digest)]
    assert len(gets) == 1
    assert len(os.listdir(os.path.join(store.snapshotter().root, "snapshots"))) == 2


def test_a_full_disk_gives_the_space_back(
    store: Store, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = Ingest.write

    def full(self: Ingest, data: bytes) -> int:
        if self.offset > 100_000:
            raise ResourceExhausted("write ingest: No space left on device")
        return inner(self, data)

    monkeypatch.setattr(Ingest, "write", full)
    with pytest.raises(ResourceExhausted, match="No space left"):
        get(store, registry)
    assert nothing_is_visible(store)
    assert store.content.statuses(NS) == []


# Who we are.


def test_basic_authentication(store: Store, registry: FakeRegistry) -> None:
    wanted = "Basic " + base64.b64encode(b"user:secret").decode()

    def guard(handler: Handler, path: str) -> bool:
        if handler.headers.get("Authorization") == wanted:
            return False
        handler.reply(401, b"", {"WWW-Authenticate": 'Basic realm="lab"'})
        return True

    registry.faults.append(guard)
    with pytest.raises(PermissionDenied, match="wants a login"):
        get(store, registry)
    get(store, registry, resolver=Resolver(credentials=lambda host: ("user", "secret")))
    assert rootfs(store)["big"] == BIG


def test_bearer_tokens_are_fetched_kept_and_renewed(store: Store, registry: FakeRegistry) -> None:
    tokens: list[str] = []

    def guard(handler: Handler, path: str) -> bool:
        if path == "/token":
            tokens.append(handler.path)
            handler.reply(200, json.dumps({"token": f"t{len(tokens)}", "expires_in": 300}).encode())
            return True
        # The first token is taken for two requests only: it "expires" early.
        good = {f"Bearer t{n}" for n in ((1, 2) if len(registry.requests) < 6 else (2,))}
        if handler.headers.get("Authorization") in good:
            return False
        challenge = f'Bearer realm="http://{registry.host}/token",service="lab",scope="x"'
        handler.reply(401, b"", {"WWW-Authenticate": challenge})
        return True

    registry.faults.append(guard)
    get(store, registry)
    assert len(tokens) == 2
    assert "scope=repository%3Alibrary%2Fx%3Apull" in tokens[0]
    assert "service=lab" in tokens[0]


def test_a_refused_token_is_a_hint(store: Store, registry: FakeRegistry) -> None:
    def guard(handler: Handler, path: str) -> bool:
        if path == "/token":
            handler.reply(403)
        else:
            realm = f'Bearer realm="http://{registry.host}/token"'
            handler.reply(401, b"", {"WWW-Authenticate": realm})
        return True

    registry.faults.append(guard)
    with pytest.raises(PermissionDenied, match="gives no access") as caught:
        get(store, registry)
    assert "log in" in caught.value.hint


def test_redirects_do_not_carry_credentials_to_another_host(
    store: Store, registry: FakeRegistry
) -> None:
    with FakeRegistry(IMAGE) as elsewhere:

        def redirect(handler: Handler, path: str) -> bool:
            if "Authorization" not in handler.headers:
                handler.reply(401, b"", {"WWW-Authenticate": "Basic realm=x"})
            elif "/blobs/" in path:
                handler.reply(307, b"", {"Location": f"http://{elsewhere.host}{path}"})
            else:
                return False
            return True

        registry.faults.append(redirect)
        resolver = Resolver(credentials=lambda host: ("u", "p"), headers=[("X-Own", "1")])
        get(store, registry, resolver=resolver)
        assert rootfs(store)["big"] == BIG
        assert elsewhere.requests
        for _, _, headers in elsewhere.requests:
            assert "Authorization" not in headers
            assert "X-Own" not in headers


def test_circles_of_redirects_end(store: Store, registry: FakeRegistry) -> None:
    registry.faults.append(lambda handler, path: handler.reply(302, b"", {"Location": path}))
    with pytest.raises(Unavailable, match="redirects in circles"):
        get(store, registry)


@pytest.mark.parametrize(
    ("header", "parsed"),
    [
        ('Bearer realm="https://a/b?c=d",service="e f",scope="x:y,z"', [("bearer", {"realm": "https://a/b?c=d", "service": "e f", "scope": "x:y,z"})]),
        ('Basic realm="a, b"', [("basic", {"realm": "a, b"})]),
        ('Basic realm=x, Bearer realm="y"', [("basic", {"realm": "x"}), ("bearer", {"realm": "y"})]),
        ('Bearer realm="quo\\"te"', [("bearer", {"realm": 'quo"te'})]),
        ("Negotiate", [("negotiate", {})]),
    ],
)  # fmt: skip
def test_challenges(header: str, parsed: list[tuple[str, dict[str, str]]]) -> None:
    assert [tuple(item) for item in auth.parse_challenges([header])] == parsed


# Proxies.


def test_a_proxy_is_asked_for_whole_urls(
    store: Store, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://me:p%40ss@{registry.host}")
    monkeypatch.setenv("no_proxy", "other.example, 10.0.0.1")
    resolver = Resolver(plain_http=True)
    name = "registry.invalid/library/x:1"
    pull(store, NS, name, resolver, platform=platforms.parse("linux/arm/v6"))
    resolver.close()
    assert rootfs(store)["big"] == BIG
    login = "Basic " + base64.b64encode(b"me:p@ss").decode()
    for _, path, headers in registry.requests:
        assert path.startswith("http://registry.invalid/v2/library/x/")
        assert headers["Proxy-Authorization"] == login


@pytest.mark.parametrize(
    ("host", "proxied"),
    [
        ("registry.lab", False),
        ("a.lab", False),
        ("lab", False),
        ("slab", True),
        ("10.0.0.2", True),
        ("127.0.0.1", False),
    ],
)
def test_no_proxy(host: str, proxied: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", ".lab,10.0.0.1")
    found = transport.proxy_for(transport.Address("https", host, 443))
    assert (found is not None) is proxied
    if found:
        assert found.address == transport.Address("http", "proxy.example", 3128)


# Mirrors.


def configure(tmp_path: Path, host: str, text: str) -> list[str]:
    folder = tmp_path / "certs.d" / host
    folder.mkdir(parents=True)
    (folder / "hosts.toml").write_text(text)
    return [str(tmp_path / "certs.d")]


def test_a_mirror_is_asked_first_and_told_for_whom(
    store: Store, registry: FakeRegistry, tmp_path: Path
) -> None:
    directories = configure(
        tmp_path,
        "registry.example",
        f'server = "http://127.0.0.1:1"\n[host."http://{registry.host}"]\n',
    )
    pull(
        store,
        NS,
        "registry.example/library/x:1",
        Resolver(directories, sleep=0.01),
        platform=platforms.parse("linux/arm/v6"),
    )
    assert rootfs(store)["big"] == BIG
    assert all(path.endswith("?ns=registry.example") for _, path, _ in registry.requests)


def test_what_a_mirror_cannot_give_the_registry_does(
    store: Store, registry: FakeRegistry, tmp_path: Path
) -> None:
    with FakeRegistry(IMAGE) as mirror:
        mirror.faults.append(lambda handler, path: handler.reply(404))
        directories = configure(
            tmp_path,
            registry.host,
            f'server = "http://{registry.host}"\n'
            f'[host."http://127.0.0.1:1"]\n[host."http://{mirror.host}"]\n'
            f'[host."http://push-only.example"]\ncapabilities = ["push"]\n',
        )
        get(store, registry, resolver=Resolver(directories, sleep=0.001))
        assert mirror.requests
    assert rootfs(store)["big"] == BIG


def test_when_all_fail_each_is_named(store: Store, tmp_path: Path) -> None:
    directories = configure(
        tmp_path, "r.example", 'server="http://127.0.0.1:1"\n[host."http://127.0.0.1:2"]\n'
    )
    with pytest.raises(Unavailable) as caught:
        pull(store, NS, "r.example/x:1", Resolver(directories, sleep=0.001))
    assert "127.0.0.1:1" in caught.value.message
    assert "127.0.0.1:2" in caught.value.message


def test_an_unknown_host_is_said_at_once(store: Store) -> None:
    with pytest.raises(Unavailable, match="is not known") as caught:
        pull(store, NS, "no-such-host.invalid/x:1", Resolver())
    assert "name server" in caught.value.hint


def test_ipv6() -> None:
    image = TestImage()
    with FakeRegistry(image, address="::1") as registry:
        assert registry.host.startswith("[::1]:")
        assert Resolver().resolve(registry.reference)[1].digest == image.root.digest
        assert registry.requests[0][2]["Host"] == registry.host


def test_plain_http_where_tls_was_expected(
    store: Store, registry: FakeRegistry, tmp_path: Path
) -> None:
    directories = configure(tmp_path, registry.host, f'server = "https://{registry.host}"\n')
    with pytest.raises(Unavailable, match="does not speak TLS") as caught:
        get(store, registry, resolver=Resolver(directories))
    assert "--plain-http" in caught.value.hint


def test_a_clock_before_the_release_is_called_wrong() -> None:
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = 9, "certificate is not yet valid"
    host = Host("https", "registry.lab")
    explained = tls.explain(host, error, now=1000.0)
    assert "the certificate of registry.lab is not valid yet" in explained.message
    assert "clock is wrong: it says 1970-01-01 00:16 UTC" in explained.hint
    error.verify_code = 10
    assert "if that is right" in tls.explain(host, error, now=tls.RELEASED + 1.0).hint


def test_a_changed_ca_file_is_read_anew(tmp_path: Path) -> None:
    ca = tmp_path / "ca.crt"
    contents = [Authority(tmp_path / name).ca_certificate().read_bytes() for name in "ab"]
    host = Host("https", "registry.lab", ca=(str(ca),))
    with pytest.raises(
        InvalidArgument, match=r"CA certificate .*ca\.crt for https://registry\.lab"
    ):
        tls.context(host)
    ca.write_bytes(contents[0])
    first = tls.context(host)
    assert tls.context(host) is first
    ca.write_bytes(contents[1] + b"\n")
    assert tls.context(host) is not first
    ca.write_bytes(b"rubbish")
    with pytest.raises(InvalidArgument, match="CA certificate"):
        tls.context(host)
