"""Containers, services of a compose file and packages from a bundle, on a board that reaches no registry and no mirror."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.conformance.airgap.bench import Bench
from toolkit.boards import network
from toolkit.lab import registry

pytestmark = [pytest.mark.root, pytest.mark.emulated, pytest.mark.timeout(900)]

_IMAGE = "docker.io/library/busybox:latest"
_ROLE = f'''
from pathlib import Path
from toolkit.resources import Container, Directory, File, Package, compose

def recipe(board):
    yield Package(names=("jq",))
    yield Directory(path="/srv/www")
    yield File(path="/srv/www/index.html", source=b"from the file\\n")
    yield Container(
        container="web", image="{_IMAGE}", mounts=("/srv/www:/www:ro",), network="host",
        command=("sh", "-c", "trap exit TERM; httpd -p 127.0.0.1:8081 -h /www; while :; do sleep 1; done"),
    )
    yield from compose(Path(__file__).with_name("compose.yaml"), project="home")
'''  # fmt: skip
_COMPOSE = f"""services:
  door:
    image: busybox
    command: [sh, -c, "trap exit TERM; echo knock; while :; do sleep 1; done"]
    depends_on: [bell]
  bell:
    image: {_IMAGE}
    command: [sh, -c, 'echo "ding $$TONE"; trap exit TERM; while :; do sleep 1; done']
    environment: {{TONE: "440 Hz"}}
    restart: unless-stopped
"""
_UNITS = "container-web container-home-door container-home-bell"


@pytest.fixture(scope="module")
def cabin(bench: Bench) -> Iterator[Bench]:
    """The board with a role of its own; who makes the bundle reaches a registry, the board none."""
    (bench.roles / "cabin.py").write_text(_ROLE)
    (bench.roles / "compose.yaml").write_text(_COMPOSE)
    now = registry.running()
    assert now is not None
    place = f"{now.address}:{now.port}"
    bench.hosts(
        roles="base,registry,runtime,cabin",
        registry_mirrors=json.dumps({"docker.io": [f"https://{place}"]}),
        registry_ca=json.dumps({place: str(bench.authority)}),
    )
    nobody = f"to {network.gateway()} ipproto tcp dport {now.port} prohibit"
    bench.on(f"ip rule add {nobody}")
    yield bench
    bench.on(f"ip rule delete {nobody}; systemctl disable --now {_UNITS}; rm -f /etc/systemd/system/container-*; systemctl daemon-reload")  # fmt: skip


def test_workloads_come_from_the_file(cabin: Bench) -> None:
    registry = f"exec 3<>/dev/tcp/{network.gateway()}/443"
    assert "ermission denied" in cabin.on(f"bash -c '{registry}' 2>&1; true")
    path = cabin.bundle("cabin.tar")
    assert _IMAGE in cabin.shown
    assert "package  jq " in cabin.shown
    assert "jq" not in cabin.on("ls /usr/bin")
    done = cabin.offline(path, "--accept-new")
    assert done.returncode == 0, done.stderr
    assert cabin.on(f"systemctl is-active {_UNITS}").split() == ["active"] * 3
    assert cabin.on("ctr task ls -q").split() == ["home-bell", "home-door", "web"]
    page = cabin.on("ctr run --rm --net-host docker.io/library/busybox:latest asks wget -qO- http://127.0.0.1:8081/ | jq --raw-input .")  # fmt: skip
    assert page == '"from the file"\n'
    assert "ding 440 Hz" in cabin.on("journalctl -o cat -t container-home-bell")


def test_nothing_is_done_twice(cabin: Bench) -> None:
    done = cabin.offline(cabin.folder / "cabin.tar")
    assert "changed=0" in done.stderr


def test_a_changed_file_comes_with_the_next_bundle(cabin: Bench) -> None:
    role = cabin.roles / "compose.yaml"
    role.write_text(role.read_text().replace("440", "880"))
    before = cabin.on("systemctl show -P InvocationID container-web")
    done = cabin.offline(cabin.bundle("changed.tar"))
    assert done.returncode == 0, done.stderr
    assert "ding 880 Hz" in cabin.on("journalctl -o cat -t container-home-bell")
    assert cabin.on("systemctl show -P InvocationID container-web") == before
