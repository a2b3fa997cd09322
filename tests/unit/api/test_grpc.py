"""The transport end to end: our client and server on a unix socket, and raw peers against both."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinnace import errors
from pinnace.api import frames, grpc, hpack
from pinnace.api.client import Channel
from pinnace.api.method import Method
from pinnace.api.schema.content import ReadContentResponse
from pinnace.api.schema.wellknown import Any, Empty
from pinnace.api.server import Context, Server


class Echo:
    once = Method("test.Echo", "Once", Any, Any)
    count = Method("test.Echo", "Count", Any, Any, response_stream=True)
    both = Method("test.Echo", "Both", Any, Any, request_stream=True, response_stream=True)
    wait = Method("test.Echo", "Wait", Empty, Any)
    ignore = Method("test.Echo", "Ignore", Empty, Any, request_stream=True)
    missing = Method("test.Echo", "Missing", Empty, Empty)
    blob = Method("test.Echo", "Blob", Any, ReadContentResponse, response_stream=True)


class EchoService:
    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.entered = threading.Event()

    def once(self, request: Any, context: Context) -> Any:
        if request.type_url == "fail":
            raise errors.NotFound("snapshot größer than 100%: not found")
        if request.type_url == "crash":
            raise ValueError("a bug")
        if request.type_url == "namespace":
            return Any(type_url=context.namespace, value=context.lease.encode())
        return request

    def count(self, request: Any, context: Context) -> Iterator[Any]:
        for number in range(int(request.type_url)):
            if number == 3:
                raise errors.Aborted("three")
            yield Any(type_url=str(number))

    def both(self, requests: Iterator[Any], context: Context) -> Iterator[Any]:
        for request in requests:
            if request.type_url == "stop":
                raise errors.FailedPrecondition("stopped")
            yield request

    def wait(self, request: Empty, context: Context) -> Any:
        context.on_cancel(self.cancelled.set)
        self.entered.set()
        self.cancelled.wait(10)
        return Any(type_url="late")

    def ignore(self, requests: Iterator[Empty], context: Context) -> Any:
        return self.wait(Empty(), context)

    def blob(self, request: Any, context: Context) -> Iterator[ReadContentResponse]:
        for offset in range(0, int(request.type_url), 1 << 20):
            yield ReadContentResponse(offset=offset, data=b"x" * (1 << 20))


class Running:
    """A server in a thread, its service and the path of its socket."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.service = EchoService()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        listener.listen()
        self.server = Server(listener, {"test.Echo": lambda: (Echo, self.service)})
        threading.Thread(target=self.server.serve, daemon=True).start()

    def channel(self, **options: str) -> Channel:
        return Channel(self.path, **options)  # type: ignore[arg-type]

    def raw(self) -> socket.socket:
        """A connected socket that has greeted the server and read its greeting."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(5)
        sock.connect(self.path)
        sock.sendall(frames.PREFACE + frames.frame(frames.SETTINGS, 0, 0))
        return sock


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    found = Running(tmp_path / "s")
    yield found
    found.service.cancelled.set()
    found.server.stop(grace=1)


def next_frame(sock: socket.socket, *wanted: int) -> tuple[int, int, int, bytes]:
    """Kind, flags, stream and payload of the next frame of the wanted kinds."""
    while True:
        head = sock.recv(9, socket.MSG_WAITALL)
        high, low, kind, flags, stream = struct.unpack("!BHBBI", head)
        size = high << 16 | low
        payload = sock.recv(size, socket.MSG_WAITALL) if size else b""
        if kind in wanted:
            return kind, flags, stream, payload


def request_headers(path: str = "/test.Echo/Once") -> bytes:
    return hpack.encode(
        [(":method", "POST"), (":scheme", "http"), (":path", path), ("content-type", "application/grpc")]
    )  # fmt: skip


def test_unary(running: Running) -> None:
    with running.channel() as channel:
        for size in (0, 5, 70_000, 3_000_000):
            sent = Any(type_url="a", value=b"v" * size)
            assert channel.unary(Echo.once, sent) == sent


def test_metadata_reaches_the_handler(running: Running) -> None:
    with running.channel(namespace="k8s.io", lease="l1") as channel:
        found = channel.unary(Echo.once, Any(type_url="namespace"))
    assert (found.type_url, found.value) == ("k8s.io", b"l1")


def test_a_call_without_namespace_is_refused(running: Running) -> None:
    with (
        running.channel() as channel,
        pytest.raises(errors.FailedPrecondition, match="namespace is required"),
    ):
        channel.unary(Echo.once, Any(type_url="namespace"))


def test_errors_keep_their_class_and_text(running: Running) -> None:
    with running.channel() as channel:
        with pytest.raises(errors.NotFound) as caught:
            channel.unary(Echo.once, Any(type_url="fail"))
        assert caught.value.message == "snapshot größer than 100%: not found"
        with pytest.raises(errors.Error, match="ValueError: a bug"):
            channel.unary(Echo.once, Any(type_url="crash"))


def test_unknown_methods_are_unimplemented(running: Running) -> None:
    with running.channel() as channel:
        with pytest.raises(errors.Unimplemented, match=r"/test\.Echo/Missing"):
            channel.unary(Echo.missing, Empty())
        with pytest.raises(errors.Unimplemented):
            channel.unary(Method("no.Service", "At", Empty, Empty), Empty())


def test_server_streaming_and_an_error_in_its_middle(running: Running) -> None:
    with running.channel() as channel:
        with channel.stream(Echo.count, Any(type_url="2")) as call:
            assert [item.type_url for item in call] == ["0", "1"]
        got: list[str] = []
        with (
            channel.stream(Echo.count, Any(type_url="9")) as call,
            pytest.raises(errors.Aborted, match="three"),
        ):
            got.extend(item.type_url for item in call)
        assert got == ["0", "1", "2"]
        with channel.stream(Echo.count, Any(type_url="0")) as call:
            assert call.receive() is None


def test_both_directions_and_an_early_end(running: Running) -> None:
    with running.channel() as channel:
        with channel.stream(Echo.both) as call:
            for number in range(5):
                call.send(Any(type_url=str(number)))
                answer = call.receive()
                assert answer is not None
                assert answer.type_url == str(number)
            call.finish()
            assert call.receive() is None
        with channel.stream(Echo.both) as call:
            call.send(Any(type_url="stop"))
            with pytest.raises(errors.FailedPrecondition, match="stopped"):
                call.receive()


def test_large_streams_pass_the_windows_in_both_directions_at_once(running: Running) -> None:
    block = Any(value=b"z" * 500_000)
    with running.channel() as channel, channel.stream(Echo.both) as call:

        def send() -> None:
            for _ in range(20):
                call.send(block)
            call.finish()

        sender = threading.Thread(target=send)
        sender.start()
        assert sum(len(item.value) for item in call) == 20 * 500_000
        sender.join(5)
        assert not sender.is_alive()


def test_a_reader_that_stops_holds_the_writer_and_no_other_call(running: Running) -> None:
    with running.channel() as channel, channel.stream(Echo.blob, Any(type_url="50000000")) as slow:
        assert slow.receive() is not None
        assert channel.unary(Echo.once, Any(type_url="other")).type_url == "other"
        assert sum(len(item.data) for item in slow) > 48_000_000


def test_a_deadline_ends_the_call_and_tells_the_server(running: Running) -> None:
    with running.channel() as channel:
        started = time.monotonic()
        with pytest.raises(errors.DeadlineExceeded):
            channel.unary(Echo.wait, Empty(), timeout=0.1)
        assert time.monotonic() - started < 5
        assert running.service.cancelled.wait(5)


def test_closing_the_connection_cancels_its_calls(running: Running) -> None:
    channel = running.channel()
    channel.stream(Echo.wait, Empty())
    assert running.service.entered.wait(5)
    channel.close()
    assert running.service.cancelled.wait(5)


def test_who_waits_reads_for_all_and_another_takes_over(running: Running) -> None:
    with running.channel() as channel:
        late: list[str] = []
        waiting = channel.stream(Echo.wait, Empty())
        taker = threading.Thread(target=lambda: late.append(waiting.result().type_url))
        taker.start()
        assert running.service.entered.wait(5)
        answers: list[str] = []

        def calls(name: str) -> None:
            with pytest.raises(errors.DeadlineExceeded):
                channel.stream(Echo.both, timeout=0.05).receive()
            answers.extend(
                channel.unary(Echo.once, Any(type_url=f"{name}{number}")).type_url
                for number in range(50)
            )

        threads = [threading.Thread(target=calls, args=(name,)) for name in "abcdefgh"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert sorted(answers) == sorted(
            f"{name}{number}" for name in "abcdefgh" for number in range(50)
        )
        running.service.cancelled.set()
        taker.join(5)
        assert late == ["late"]


def test_closing_the_channel_ends_who_reads_and_who_waits(running: Running) -> None:
    channel = running.channel()
    ends: list[str] = []

    def wait() -> None:
        with pytest.raises(errors.Unavailable, match="the channel was closed"):
            channel.unary(Echo.wait, Empty())
        ends.append("ended")

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert running.service.entered.wait(5)
    time.sleep(0.1)
    channel.close()
    for thread in threads:
        thread.join(5)
    assert ends == ["ended"] * 3


def test_a_daemon_that_comes_again_is_found_without_an_error(tmp_path: Path) -> None:
    first = Running(tmp_path / "s")
    with first.channel() as channel:
        assert channel.unary(Echo.once, Any(type_url="1")).type_url == "1"
        first.server.stop(grace=1)
        Path(first.path).unlink(missing_ok=True)
        second = Running(tmp_path / "s")
        assert channel.unary(Echo.once, Any(type_url="2")).type_url == "2"
        second.server.stop(grace=1)


def test_no_daemon_is_unavailable_and_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(errors.Unavailable, match=r"cannot connect to .*systemctl status pinnaced"):
        Channel(str(tmp_path / "none")).unary(Echo.once, Any())


def test_a_channel_connects_again_after_the_daemon_restarted(tmp_path: Path) -> None:
    first = Running(tmp_path / "s")
    channel = first.channel()
    channel.unary(Echo.once, Any())
    first.server.stop(grace=1)
    (tmp_path / "s").unlink()
    second = Running(tmp_path / "s")
    time.sleep(0.05)
    assert channel.unary(Echo.once, Any(type_url="again")).type_url == "again"
    second.server.stop(grace=1)


def test_an_unknown_method_answers_as_grpc_with_a_content_type(running: Running) -> None:
    with running.raw() as sock:
        sock.sendall(frames.frame(frames.HEADERS, 5, 1, request_headers("/nothing/Here")))
        _, flags, _, block = next_frame(sock, frames.HEADERS)
        found = dict(hpack.Decoder().decode(block))
    assert flags & frames.END_STREAM
    assert found["grpc-status"] == "12"
    assert found["content-type"] == "application/grpc"


def test_pings_are_answered(running: Running) -> None:
    with running.raw() as sock:
        sock.sendall(frames.frame(frames.PING, 0, 0, b"12345678"))
        assert next_frame(sock, frames.PING) == (frames.PING, frames.ACK, 0, b"12345678")


def test_headers_may_be_continued_padded_and_have_a_priority(running: Running) -> None:
    block = request_headers()
    with running.raw() as sock:
        sock.sendall(
            frames.frame(frames.HEADERS, frames.PADDED | frames.HAS_PRIORITY, 1, b"\x03" + bytes(5) + block[:9] + bytes(3))
            + frames.frame(frames.CONTINUATION, frames.END_HEADERS, 1, block[9:])
            + frames.frame(frames.DATA, frames.PADDED | frames.END_STREAM, 1, b"\x02" + grpc.framed(b"") + bytes(2))
        )  # fmt: skip
        assert next_frame(sock, frames.DATA)[3] == grpc.framed(b"")


@pytest.mark.parametrize(
    ("attack", "code"),
    [
        (frames.frame(frames.CONTINUATION, 0, 1, b"x"), frames.PROTOCOL_ERROR),
        (frames.frame(frames.DATA, 0, 7, b"x"), frames.PROTOCOL_ERROR),
        (frames.frame(frames.HEADERS, 4, 2, b"\x82"), frames.PROTOCOL_ERROR),
        (frames.frame(frames.HEADERS, 4, 1, b"\xff\xff\xff\xff\xff\x7f"), frames.COMPRESSION_ERROR),
        (frames.frame(frames.HEADERS, 0, 1) + frames.frame(frames.PING, 0, 0, bytes(8)), frames.PROTOCOL_ERROR),
        (frames.frame(frames.PING, 0, 0, b"1"), frames.FRAME_SIZE_ERROR),
        (frames.frame(frames.SETTINGS, 0, 0, b"12345"), frames.FRAME_SIZE_ERROR),
        (frames.frame(frames.WINDOW_UPDATE, 0, 0, bytes(4)), frames.FLOW_CONTROL_ERROR),
        (frames.frame(frames.PUSH_PROMISE, 0, 1), frames.PROTOCOL_ERROR),
        (struct.pack("!BHBBI", 255, 65535, 0, 0, 1), frames.FRAME_SIZE_ERROR),
        (
            frames.frame(frames.HEADERS, 0, 1) + b"".join(frames.frame(frames.CONTINUATION, 0, 1, bytes(9000)) for _ in range(8)),
            frames.ENHANCE_YOUR_CALM,
        ),
    ],
)  # fmt: skip
def test_attacks_end_the_connection_with_a_reason(
    running: Running, attack: bytes, code: int
) -> None:
    with running.raw() as sock:
        sock.sendall(attack)
        payload = next_frame(sock, frames.GOAWAY)[3]
        assert int.from_bytes(payload[4:8], "big") == code
    with running.channel() as channel:
        assert channel.unary(Echo.once, Any(type_url="alive")).type_url == "alive"


def test_another_protocol_is_turned_away(running: Running) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(running.path)
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        payload = next_frame(sock, frames.GOAWAY)[3]
        assert int.from_bytes(payload[4:8], "big") == frames.PROTOCOL_ERROR


def test_data_over_the_window_resets_the_stream(running: Running) -> None:
    with running.raw() as sock:
        sock.sendall(frames.frame(frames.HEADERS, 4, 1, request_headers("/test.Echo/Ignore")))
        for _ in range(frames.STREAM_WINDOW // 16384 + 1):
            sock.sendall(frames.frame(frames.DATA, 0, 1, bytes(16384)))
        _, _, stream, payload = next_frame(sock, frames.RST_STREAM)
        assert (stream, int.from_bytes(payload, "big")) == (1, frames.FLOW_CONTROL_ERROR)


def test_too_large_and_compressed_messages_are_refused(running: Running) -> None:
    for head, status in ((struct.pack("!BI", 0, 1 << 30), "8"), (struct.pack("!BI", 1, 0), "12")):
        with running.raw() as sock:
            sock.sendall(
                frames.frame(frames.HEADERS, 4, 1, request_headers())
                + frames.frame(frames.DATA, 0, 1, head)
            )
            block = next_frame(sock, frames.HEADERS)[3]
            assert dict(hpack.Decoder().decode(block))["grpc-status"] == status


@pytest.mark.parametrize("text", ["plain", "100% größer", "\n\0", "%", "%4", "ü%zz"])
def test_messages_survive_quoting(text: str) -> None:
    assert grpc.unquote(grpc.quote(text)) == text


def test_timeouts() -> None:
    assert grpc.parse_timeout("100m") == pytest.approx(0.1)
    assert grpc.parse_timeout("2H") == 7200
    for bad in ("", "m", "5", "-5S", "1234567890S", "5x"):
        assert grpc.parse_timeout(bad) is None
    assert grpc.parse_timeout(grpc.format_timeout(3.5)) == 3.5
