"""Layers that the kernel sends from their files: all of them arrive, and a registry that takes none is left in time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from pinnace.errors import Error, InvalidArgument, Unavailable
from pinnace.images.pull import pull
from pinnace.images.push import push
from pinnace.registry import transport
from pinnace.registry.resolver import Resolver
from pinnace.spec import platform as platforms
from pinnace.store.store import Store
from tests.fakeregistry import FakeRegistry, Handler
from tests.images import TestImage
from tests.layers import LayerBuilder

NS = "default"
# More than a socket's buffers hold on both sides.
BIG = TestImage(["linux/amd64"], [LayerBuilder().add("big", os.urandom(24 << 20)).bytes()])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "store")) as opened:
        yield opened


@pytest.fixture
def registry(store: Store) -> Iterator[FakeRegistry]:
    """It has given the image away already, and takes a copy as its faults say."""
    with FakeRegistry(BIG) as running:
        with closing(Resolver(sleep=0.01)) as resolver:
            pull(store, NS, running.reference, resolver, platform=platforms.parse("linux/amd64"), unpack=False)  # fmt: skip
        yield running


def send(store: Store, registry: FakeRegistry, put: Callable[[Handler], bool]) -> None:
    """Push a copy to a registry that answers an upload's PUT by *put*, and takes everything else."""

    def fault(handler: Handler, path: str) -> bool:
        if not path.startswith("/v2/library/copy/"):
            return False
        if handler.command == "PUT" and "/uploads/" in path:
            return put(handler)
        handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        status = {"HEAD": 404, "POST": 202}.get(handler.command, 201)
        return handler.reply(status, b"", {"Location": f"{path}1", "Content-Length": "0"})

    registry.faults.append(fault)
    with closing(Resolver(sleep=0.01)) as resolver:
        push(store, NS, registry.reference, f"{registry.host}/library/copy:1", resolver)


def test_every_byte_arrives(store: Store, registry: FakeRegistry) -> None:
    """Also at a registry that takes them in small pieces."""
    came: set[str] = set()

    def put(handler: Handler) -> bool:
        hasher, left = sha256(), int(handler.headers["Content-Length"])
        while left:
            data = handler.rfile.read1(min(left, 50_000))
            hasher.update(data)
            left -= len(data)
        came.add(f"sha256:{hasher.hexdigest()}")
        return handler.reply(201)

    send(store, registry, put)
    documents = {item.digest for item in (*BIG.manifests, BIG.root)}
    assert came == {item.digest for item, _ in BIG.blobs if item.digest not in documents}


def test_a_registry_that_takes_no_more(
    store: Store, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "READ_SECONDS", 0.3)
    over = threading.Event()

    def put(_: Handler) -> bool:
        over.wait(30)
        return True

    try:
        with pytest.raises(Unavailable, match="timed out"):
            send(store, registry, put)
    finally:
        over.set()


@pytest.mark.parametrize("status", [400, 413])
def test_a_registry_that_refuses_before_the_end(
    store: Store, registry: FakeRegistry, status: int
) -> None:
    """Its words are told if they come through; a closed connection is one line in any case."""

    def put(handler: Handler) -> bool:
        handler.reply(status, b'{"errors":[{"code":"TOO_LARGE","message":"no more room"}]}')
        handler.rfile.read(int(handler.headers["Content-Length"]))
        return True

    with pytest.raises(Error) as caught:
        send(store, registry, put)
    assert isinstance(caught.value, InvalidArgument | Unavailable)
    assert "\n" not in str(caught.value)
