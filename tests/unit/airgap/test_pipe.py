"""The registry's client as a process: a server that lies costs it an answer, and nothing more."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from toolkit.agent.registry import Registry, RegistryError
from toolkit.paths import RUNTIME

DATA = b"content" * 1000
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"


class Liar(BaseHTTPRequestHandler):
    """Answers every request for a blob with what ``answer`` is."""

    answer = DATA
    length = True

    def do_GET(self) -> None:
        self.send_response(200 if "blobs" in self.path else 404)
        if self.length:
            self.send_header("Content-Length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Liar.answer, Liar.length = DATA, True
    found = ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{found.server_port}/fleet"
    found.shutdown()
    found.server_close()


def test_what_is_right_arrives(server: str, tmp_path: Path) -> None:
    with Registry(str(RUNTIME)) as registry:
        registry.fetch(server, DIGEST, len(DATA), str(tmp_path / "x"))
        with pytest.raises(RegistryError, match="exist"):
            registry.fetch(server, DIGEST, len(DATA), str(tmp_path / "x"))
        with pytest.raises(RegistryError, match="not found"):
            registry.manifest(f"{server}:pi")
    assert (tmp_path / "x").read_bytes() == DATA


@pytest.mark.parametrize(
    ("answer", "length"),
    [(b"other", True), (bytes(len(DATA)), True), (DATA + b"more", False), (DATA * 1000, False), (DATA[:-1], False)],
)  # fmt: skip
def test_what_is_not_leaves_nothing(server: str, tmp_path: Path, answer: bytes, length: bool) -> None:  # fmt: skip
    Liar.answer, Liar.length = answer, length
    with Registry(str(RUNTIME)) as registry, pytest.raises(RegistryError) as found:
        registry.fetch(server, DIGEST, len(DATA), str(tmp_path / "x"))
    assert found.value.kind == "DataLoss"
    assert not list(tmp_path.iterdir())


def test_a_client_that_ends_says_why(tmp_path: Path) -> None:
    with Registry(str(tmp_path)) as registry, pytest.raises(RegistryError, match="No module named"):
        registry.manifest("127.0.0.1:1/x:y")
