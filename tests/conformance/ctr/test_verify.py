"""``ctr images check --verify``: bits that flip in an unpacked layer, with our daemon and with Debian's containerd."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import pytest

from tests.conformance.ctr.daemons import IMAGE, Daemon

pytestmark = [pytest.mark.root, pytest.mark.peer]


@pytest.fixture
def namespace(daemon: Daemon, request: pytest.FixtureRequest) -> str:
    """A namespace of this run's own, with the image."""
    name = f"verify-{request.node.originalname.rpartition('_')[2]}-{secrets.token_hex(3)}"
    archive = str(daemon.arena.scratch / "busybox.tar")
    assert daemon.theirs("--namespace", name, "image", "import", archive).returncode == 0
    return name


def spoil(daemon: Daemon, namespace: str) -> Path:
    """Flip a bit of busybox where this namespace's snapshot has it."""
    key = daemon.ctr("-n", namespace, "snapshot", "ls").stdout.splitlines()[1].split()[0]
    # In one command: nothing refers to a view, and the garbage collector may take it before the next one.
    shown = daemon.ctr("-n", namespace, "snapshot", "view", "--mounts", f"look-{namespace}", key)
    assert shown.returncode == 0, shown.stderr
    source = json.loads(shown.stdout)[0]["Source"]
    daemon.ctr("-n", namespace, "snapshot", "rm", f"look-{namespace}")
    path = Path(source) / "bin/busybox"
    with path.open("r+b") as file:
        file.seek(70_000)
        byte = file.read(1)
        file.seek(70_000)
        file.write(bytes([byte[0] ^ 1]))
    return path


def test_a_flipped_bit_is_found_and_mended(daemon: Daemon, namespace: str) -> None:
    def check(*flags: str) -> tuple[int, str, str]:
        done = daemon.ctr("-n", namespace, "images", "check", *flags)
        return done.returncode, done.stdout, done.stderr

    status, shown, said = check("--verify")
    assert (status, said) == (0, "")
    assert shown.rstrip().endswith("true")
    path = spoil(daemon, namespace)
    before = path.read_bytes()
    assert check()[1] == shown  # only reading all of it tells
    status, shown, said = check("--verify")
    assert status == 1
    assert shown.rstrip().endswith("damaged")
    assert said.startswith(f"ctr: {IMAGE}: layer sha256:")
    assert said.endswith(": /bin/busybox has other content\n")
    assert check("--verify", "-q")[1] == ""
    (document,) = json.loads(check("--verify", "--format", "json")[1])
    assert document["unpacked"]
    assert document["damaged"]
    status, shown, said = check("--verify", "--repair")
    assert status == 0, said
    assert said.endswith("ctr: damaged layers were unpacked again\n")
    assert check("--verify")[0] == 0
    assert not path.exists() or path.read_bytes() != before


def test_nothing_is_repaired_below_a_container(daemon: Daemon, namespace: str) -> None:
    made = daemon.ctr("-n", namespace, "container", "create", IMAGE, "stands")
    assert made.returncode == 0, made.stderr
    path = spoil(daemon, namespace)
    done = daemon.ctr("-n", namespace, "images", "check", "--verify", "--repair")
    assert done.returncode == 1
    assert "container stands stands on a damaged layer: nothing was repaired" in done.stderr
    assert path.exists()
    daemon.ctr("-n", namespace, "container", "rm", "stands")
    done = daemon.ctr("-n", namespace, "images", "check", "--verify", "--repair")
    assert done.returncode == 0, done.stderr


def test_repair_alone_is_a_mistake(pinnaced: Daemon) -> None:
    done = pinnaced.ctr("images", "check", "--repair")
    assert done.returncode == 1
    assert "--repair goes with --verify" in done.stderr
