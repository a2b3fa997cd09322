"""Frames of ttrpc, the server for shims' events, and the client with answers in any order."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinnace.api import ttrpc
from pinnace.api.schema import eventservice as wire
from pinnace.api.schema import shims
from pinnace.api.schema.wellknown import Empty
from pinnace.api.ttrpcclient import TtrpcClient
from pinnace.api.ttrpcserver import TtrpcServer
from pinnace.errors import DeadlineExceeded, InvalidArgument, NotFound, Unavailable, Unimplemented

EVENTS = "containerd.services.events.ttrpc.v1.Events"


class Handler:
    def forward(self, request: wire.ForwardRequest) -> Empty:
        if request.envelope is None:
            raise NotFound("no envelope")
        return Empty()


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    path = str(tmp_path / "s")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    server = TtrpcServer(listener, {EVENTS: lambda: (wire.ShimEvents, Handler())}, print)
    server.start()
    yield path
    server.stop()


def test_frames_come_in_pieces() -> None:
    data = ttrpc.request(1, wire.ShimEvents.forward, wire.ForwardRequest()) * 2
    frames = ttrpc.Frames()
    found = [frame for byte in data for frame in frames.feed(bytes([byte]))]
    assert [(frame.stream, frame.kind) for frame in found] == [(1, ttrpc.REQUEST)] * 2
    assert ttrpc.Request.decode(found[0].body).method == "Forward"


def test_a_frame_too_large_is_refused_before_it_comes() -> None:
    with pytest.raises(InvalidArgument):
        ttrpc.Frames().feed(struct.pack(">IIBB", ttrpc.MOST_BYTES + 1, 1, 1, 0))


def test_calls_and_errors(address: str) -> None:
    with TtrpcClient(address) as client:
        envelope = wire.Envelope(namespace="n", topic="/a")
        client.call(wire.ShimEvents.forward, wire.ForwardRequest(envelope=envelope))
        with pytest.raises(NotFound, match="no envelope: not found"):
            client.call(wire.ShimEvents.forward, wire.ForwardRequest())
        with pytest.raises(Unimplemented):
            client.call(shims.service(2).state, shims.StateRequest())


@pytest.mark.parametrize(
    "nonsense",
    [b"\xff" * 64, struct.pack(">IIBB", 3, 1, 1, 0) + b"abc", b"GET / HTTP/1.1\r\n\r\n" * 9],
)
def test_nonsense_costs_its_sender_alone(address: str, nonsense: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as peer, TtrpcClient(address) as client:
        peer.connect(address)
        peer.sendall(nonsense)
        peer.settimeout(5)
        peer.recv(4096)  # an error, or the end
        with pytest.raises(NotFound):
            client.call(wire.ShimEvents.forward, wire.ForwardRequest())


def test_answers_in_any_order_and_the_end(tmp_path: Path) -> None:
    """The first call is answered after the second; what waits when the peer goes is told, once."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    gone, waited, came = threading.Event(), threading.Event(), []
    client = TtrpcClient(str(tmp_path / "s"), on_close=gone.set)
    peer = listener.accept()[0]
    task = shims.service(2)

    def took(answer: shims.WaitResponse) -> None:
        came.append(answer.exit_status)
        waited.set()

    client.begin(task.wait, shims.WaitRequest(id="a"), took)
    peer.recv(4096)
    threading.Timer(0.05, lambda: peer.sendall(ttrpc.answer(3, shims.StateResponse(pid=7)))).start()
    assert client.call(task.state, shims.StateRequest()).pid == 7
    peer.sendall(ttrpc.answer(1, shims.WaitResponse(exit_status=9)))
    assert waited.wait(5)
    assert came == [9]
    with pytest.raises(DeadlineExceeded):
        client.call(task.state, shims.StateRequest(), timeout=0.05)
    threading.Timer(0.05, peer.close).start()
    with pytest.raises(Unavailable):
        client.call(task.state, shims.StateRequest())
    assert gone.wait(5)
    client.close()
    listener.close()
