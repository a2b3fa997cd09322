"""Metrics and the debug socket of a daemon that runs, as Prometheus and an administrator ask for them."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator

import pytest

from tests.conformance.ctr.daemons import IMAGE, Daemon, busybox, environment
from toolkit.arch import Arch
from toolkit.arena import Arena
from toolkit.debian import Archive

pytestmark = [pytest.mark.root, pytest.mark.peer]
_CONFIG = """\
version = 3
root = "{root}"
state = "/run/pinnace"
[grpc]
address = "/run/pinnace/pinnace.sock"
[debug]
address = "/run/pinnace/debug.sock"
format = "json"
[metrics]
address = "127.0.0.1:{port}"
[plugins."io.pinnace.keeper"]
address = "/run/pinnace/keeper.sock"
"""
# The text format 0.0.4: a comment, or a name with labels and a value.
_LINE = re.compile(
    r"# (HELP|TYPE) [a-zA-Z_:][\w:]* .+"
    r'|[a-zA-Z_:][\w:]*(\{[a-zA-Z_]\w*="([^"\\]|\\.)*"(,[a-zA-Z_]\w*="([^"\\]|\\.)*")*\})? -?[0-9][0-9.e+-]*'
)
_FETCH = "import sys, urllib.request as u; sys.stdout.write(u.urlopen(sys.argv[1], timeout=20).read().decode())"


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Observed(Daemon):
    port: int

    def scrape(self, path: str = "/v1/metrics") -> str:
        url = f"http://127.0.0.1:{self.port}{path}"
        done = self.arena.run([sys.executable, "-c", _FETCH, url])
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def observed() -> Iterator[Observed]:
    if os.geteuid() != 0:
        pytest.skip("needs root for namespaces")
    with Arena() as arena:
        port = free_port()
        config = arena.scratch / "ours.toml"
        config.write_text(_CONFIG.format(root=arena.scratch / "ours", port=port))
        python, env = [sys.executable, "-m"], environment()
        keeper = "/run/pinnace/keeper.sock"
        arena.start([*python, "pinnace.keeper", "--address", keeper], log="keeper.log", env=env)
        arena.wait_for(keeper, log="keeper.log")
        words = [*python, "pinnace.cli.main", "pinnaced", "--config", str(config)]
        arena.start(words, log="ours.log", env=env)
        arena.wait_for("/run/pinnace/pinnace.sock", log="ours.log")
        arch = Arch.from_machine(os.uname().machine)
        peer = Archive("bookworm", arch.facts.debian).unpack(["containerd", "runc"])
        daemon = Observed(arena, "/run/pinnace/pinnace.sock", peer)
        daemon.port = port
        archive = arena.scratch / "busybox.tar"
        archive.write_bytes(busybox())
        assert daemon.ctr("image", "import", str(archive)).returncode == 0
        yield daemon


def test_metrics_have_containerds_names(observed: Observed) -> None:
    assert observed.ctr("run", "-d", IMAGE, "measured", "sleep", "600").returncode == 0
    try:
        text = observed.scrape()
    finally:
        observed.ctr("task", "rm", "-f", "measured")
        observed.ctr("container", "rm", "measured")
    for line in text.splitlines():
        assert _LINE.fullmatch(line), line
    name = observed.arena.name
    of_task = rf'\{{container_id="measured",namespace="{name}"\}}'
    assert re.search(rf"^container_pids_current{of_task} 1$", text, re.M)
    assert re.search(rf"^container_(cpu_usage_usec_micro|cpu_total_nano)seconds{of_task} \d", text, re.M)  # fmt: skip
    assert re.search(rf"^container_memory_usage_(usage_)?bytes{of_task} \d", text, re.M)
    assert re.search(rf'^pinnace_tasks\{{namespace="{name}"\}} 1$', text, re.M)
    started = r'grpc_server_handled_total\{grpc_code="OK",grpc_method="Start",grpc_service="containerd.services.tasks.v1.Tasks",grpc_type="unary"\}'
    assert re.search(rf"^{started} [1-9]", text, re.M)
    assert re.search(r"^containerd_build_info_total\{revision=.* 1$", text, re.M)
    assert float(re.findall(r"^process_resident_memory_bytes (\d+)$", text, re.M)[0]) > 1e6


def test_a_failed_call_is_counted_by_its_code(observed: Observed) -> None:
    assert observed.ctr("container", "info", "nobody").returncode == 1
    text = observed.scrape("/metrics")
    assert re.search(r'^grpc_server_handled_total\{grpc_code="NotFound",grpc_method="Get",.* [1-9]', text, re.M)  # fmt: skip


def test_the_debug_socket_tells_threads_memory_and_tasks(observed: Observed) -> None:
    pprof = ("pprof", "--debug-socket", "/run/pinnace/debug.sock")
    assert "serve" in observed.ctr(*pprof, "goroutines").stdout
    heap = observed.ctr(*pprof, "heap").stdout
    assert re.search(r"^Rss: +\d+ kB$", heap, re.M)
    assert re.search(r"^# objects: \d+", heap, re.M)
    folded = observed.ctr(*pprof, "profile", "--seconds", "1s").stdout
    assert re.search(r"^threading\._bootstrap;\S+ \d+$", folded, re.M)
    missing = observed.ctr(*pprof, "block")
    assert missing.returncode == 1
    assert "there is no /debug/pprof/block" in missing.stderr
    mode = observed.arena.run(["stat", "-c", "%a %u", "/run/pinnace/debug.sock"]).stdout
    assert mode == "600 0\n"


def test_the_log_is_an_object_a_line(observed: Observed) -> None:
    lines = (observed.arena.scratch / "ours.log").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert any(each["msg"].startswith("metrics are at http://127.0.0.1:") for each in found)
    assert {"level", "msg", "time"} == set(found[0])


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /v1/metrics HTTP/1.1\r\n\r\n", b"200"),
        (b"POST /v1/metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"GET /../etc/passwd HTTP/1.1\r\n\r\n", b"404"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET " + b"x" * 10000 + b" HTTP/1.1\r\n\r\n", b"400"),
    ],
)
def test_hostile_requests_are_answered_and_nothing_more(
    observed: Observed, sent: bytes, status: bytes
) -> None:
    program = (
        "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1])));"
        "s.sendall(sys.stdin.buffer.read()); sys.stdout.buffer.write(s.recv(64))"
    )
    done = observed.arena.run([sys.executable, "-c", program, str(observed.port)], input=sent, text=False)  # fmt: skip
    assert done.stdout.split(b" ")[1:2] == [status], done.stderr
