"""A board that follows a tag in the lab registry: what it takes on, what it refuses, what it puts back."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.airgap.bench import REPOSITORY, Bench
from toolkit.agent.follow import artifact
from toolkit.agent.registry import Registry
from toolkit.boards import network
from toolkit.lab import registry as lab
from toolkit.paths import RUNTIME

pytestmark = [pytest.mark.root, pytest.mark.emulated, pytest.mark.timeout(1200)]

_MIRROR = "/etc/pinnace/certs.d/docker.io/hosts.toml"
TAG = f"{REPOSITORY}:pi"


@pytest.fixture(scope="module")
def board(bench: Bench) -> Bench:
    """The board of the other tests, which has the role agent from its bundle, and finds the registry."""
    if "agent.pyz" not in bench.on("ls /usr/local/lib/pinnace 2>/dev/null; true"):
        _wants(bench, 0)
        done = bench.offline(bench.bundle("base.tar"), "--accept-new")
        assert done.returncode == 0, done.stderr
    _wants(bench, 0)
    bench.on("sed -i 's/hidden.lab$/registry.lab/' /etc/hosts; systemctl stop pinnace-follow.timer")
    return bench


@pytest.fixture(scope="module")
def eve() -> Iterator[Registry]:
    """Somebody who may push to the registry, and has no key that counts."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch, network.REGISTRY)
        place.mkdir()
        now = lab.running()
        assert now is not None
        (place / "hosts.toml").write_text(f'server = "{now.url}"\nca = "{lab.ca_certificate()}"\n')
        with Registry(str(RUNTIME), [scratch]) as registry:
            yield registry


def _wants(bench: Bench, number: int, **variables: object) -> None:
    """An inventory in which a file on the board has this number in it."""
    mirrors = json.dumps({"docker.io": [f"https://mirror{number}.example"]})
    bench.hosts(**{"roles": "base,registry,runtime,agent", "packages": "tree", "registry_mirrors": mirrors, "follow_confirm": 60, **variables})  # fmt: skip


def _publish(bench: Bench) -> str:
    return bench.inv("publish", "--limit", "pi", "--role", "registry,agent")


def test_a_release_is_taken_on_and_reported(board: Bench) -> None:
    _wants(board, 1)
    assert "release-" in _publish(board)
    said = board.look()
    assert "changed: file " + _MIRROR in said
    assert "mirror1" in board.on(f"cat {_MIRROR}")
    told = board.reported()
    assert (told["result"], told["broken"]) == ("ok", [])
    assert told["manifest"] == told["seen"]
    assert "ok" in board.inv("status", "--host", "pi", "--pull")
    # Nothing new: nothing is done, nothing is fetched.
    assert board.look() == ""


def test_a_status_that_somebody_else_pushed_is_not_believed(board: Bench, eve: Registry) -> None:
    _, _, data = eve.manifest(f"{REPOSITORY}:status-pi")
    text, _ = artifact.read_status(data)
    forged = text.replace(b'"result": "ok"', b'"result": "no"')
    digest, empty = eve.push(REPOSITORY, forged), eve.push(REPOSITORY, b"{}")
    old = json.loads(data)["annotations"][artifact.SIGNED]
    eve.push(f"{REPOSITORY}:status-pi", artifact.status(forged, digest, empty, old), artifact.MANIFEST)  # fmt: skip
    assert "not its own" in board.inv("status", "--host", "pi", "--pull", status=2)


def test_a_hostile_registry_changes_nothing(board: Bench, eve: Registry) -> None:
    _, _, older = eve.manifest(TAG)
    _wants(board, 2)
    _publish(board)
    board.look()
    _, _, newest = eve.manifest(TAG)
    before = board.state()
    found = json.loads(newest)
    config, signature = found["config"], found["layers"][0]
    index = {"format": 1, "release": 9999999999, "hosts": {}, "blobs": {}, "expires": 0}
    forged = json.dumps(index).encode()
    own = {**config, "digest": eve.push(REPOSITORY, forged), "size": len(forged)}
    attacks = {
        "took on": older,
        "is not good": json.dumps({**found, "config": own}).encode(),
        "of a size that none has": json.dumps({**found, "config": {**config, "size": 1 << 40}}).encode(),
        "not a release of ours": json.dumps({**found, "artifactType": "application/x"}).encode(),
        "not signed": json.dumps({**found, "layers": [{**signature, "digest": own["digest"], "size": own["size"]}]}).encode(),
    }  # fmt: skip
    for why, manifest in attacks.items():
        eve.push(TAG, manifest, artifact.MANIFEST)
        assert why in board.look()
    assert board.state() == before
    assert board.reported()["refused"]
    eve.push(TAG, newest, artifact.MANIFEST)
    assert board.look() == ""
    assert not board.reported()["refused"]


@pytest.mark.skipif(not os.environ.get("PINNACE_PULL_ALL"), reason="PINNACE_PULL_ALL=1: one release more")  # fmt: skip
def test_while_somebody_else_is_at_work_it_waits(board: Bench) -> None:
    _wants(board, 2, follow_confirm=61)
    _publish(board)
    said = board.on("exec 9>>/run/pinnace-agent.lock; flock 9; /usr/bin/python3 -I -S -B /usr/local/lib/pinnace/agent.pyz look; true")  # fmt: skip
    assert "is provisioning this board right now" in said
    assert "changed" not in said
    assert "confirmed" in board.look()
    assert board.reported()["result"] == "ok"


def test_without_the_registry_everything_stays(board: Bench) -> None:
    board.on("sed -i 's/registry.lab$/hidden.lab/' /etc/hosts")
    before = board.state()
    try:
        assert "everything stays as it is" in board.look()
        assert board.state() == before
    finally:
        board.on("sed -i 's/hidden.lab$/registry.lab/' /etc/hosts")


def test_a_release_that_cuts_the_board_off_is_put_back(board: Bench) -> None:
    """It has the board look for the registry's certificate where there is none."""
    config = board.on("cat /etc/pinnace/follow.json")
    _wants(board, 3, registry_config_path="/etc/pinnace/nowhere.d")
    board.inv("publish", "--limit", "pi", "--role", "agent")
    board.on("""sed -i 's/"confirm": 60/"confirm": 12/' /etc/pinnace/follow.json""")
    said = board.look()
    assert "changed: file /etc/pinnace/follow.json" in said
    assert "put back: " in said
    assert board.on("cat /etc/pinnace/follow.json").replace(": 12", ": 60") == config
    told = board.reported()
    assert told["result"] == "reverted"
    assert "signed by an unknown authority" in told["message"]
    # It is not taken on again.
    assert board.look() == ""
    assert board.on("ls /var/lib/pinnace-agent/armed.json 2>/dev/null; true") == ""


@pytest.fixture
def looking(board: Bench) -> Iterator[None]:
    """The board looks as often as it can, as a timer with a short interval would have it."""
    board.on("systemd-run --quiet --unit=looks sh -c 'while :; do /usr/bin/python3 -I -S -B /usr/local/lib/pinnace/agent.pyz look; sleep 1; done'")  # fmt: skip
    yield
    board.on("systemctl stop looks")


def _rollout(board: Bench, *words: str, status: int = 0) -> list[str]:
    """The statuses that the host had."""
    said = board.inv("rollout", "--limit", "fleet", "--pull", "--health-time", "0s", "--json", *words, status=status)  # fmt: skip
    events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    return [event["status"] for event in events if "status" in event]


@pytest.mark.usefixtures("looking")
def test_rollouts_move_tags_and_wait(board: Bench) -> None:
    _wants(board, 4)
    assert _rollout(board, "--role", "registry")[-1] == "changed"
    assert "mirror4" in board.on(f"cat {_MIRROR}")


@pytest.mark.usefixtures("looking")
def test_who_was_healed_has_its_turn_when_it_is_resumed(board: Bench) -> None:
    _wants(board, 8)
    place = os.path.dirname(_MIRROR)
    board.on(f"mount --bind {place} {place}; mount -o remount,ro,bind {place}")
    statuses = _rollout(board, "--role", "registry", "--revert", "nothing", status=8)
    assert statuses[-1] == "failed"
    board.on(f"umount -l {place}")
    said = board.inv("rollout", "--resume", "latest")
    assert "changed=1" in said
    assert "mirror8" in board.on(f"cat {_MIRROR}")


@pytest.mark.skipif(not os.environ.get("PINNACE_PULL_ALL"), reason="PINNACE_PULL_ALL=1: it waits for a board that cuts itself off")  # fmt: skip
@pytest.mark.usefixtures("looking")
def test_a_rollout_that_fails_gives_back_what_was_there(board: Bench) -> None:
    _wants(board, 5)
    assert _rollout(board, "--role", "registry,agent")[-1] == "changed"
    before = board.on(f"cat {_MIRROR} /etc/pinnace/follow.json")
    _wants(board, 6, registry_config_path="/etc/pinnace/nowhere.d")
    statuses = _rollout(board, "--role", "agent", status=8)
    assert "failed" in statuses
    assert statuses[-1] == "reverted"
    assert board.on(f"cat {_MIRROR} /etc/pinnace/follow.json") == before
    assert board.reported()["result"] == "ok"


@pytest.mark.skipif(not os.environ.get("PINNACE_PULL_ALL"), reason="PINNACE_PULL_ALL=1: it restarts the board")  # fmt: skip
def test_a_board_that_goes_down_before_it_found_itself_well(board: Bench) -> None:
    _wants(board, 5)
    _publish(board)
    board.look()
    before = board.on("cat /etc/pinnace/follow.json")
    _wants(board, 5, registry_config_path="/etc/pinnace/nowhere.d")
    board.inv("publish", "--limit", "pi", "--role", "agent")
    board.on("systemctl start --no-block pinnace-follow.service; until grep -q confirming /var/lib/pinnace-agent/follow.json; do sleep 0.2; done")  # fmt: skip
    assert "nowhere" in board.on("cat /etc/pinnace/follow.json")
    board.board.stop()
    board.board.start()
    board.on("until ! [ -e /var/lib/pinnace-agent/armed.json ]; do sleep 1; done; systemctl stop pinnace-follow.timer")  # fmt: skip
    assert board.on("cat /etc/pinnace/follow.json") == before
    board.look()
    assert board.reported()["result"] == "reverted"
