"""`./inv rollout` over real boards with sshd, some of them sick: the table, the exit status, what is left."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fresh import fresh
from tests.laptop import Laptop
from toolkit import boards
from toolkit.boards.emulated import EmulatedBoard
from toolkit.paths import cache_dir, state_dir

pytestmark = [pytest.mark.root, pytest.mark.emulated, pytest.mark.timeout(1800)]

HEALTHY = int(os.environ.get("PINNACE_FLEET", "3"))
"""Healthy boards; 95 for the whole."""
_LIMIT = 31
"""Seconds that a host may take in all."""
_NOBODY = "10.87.137.251"
_OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN0U7It/YwMJgdnhYIvLdmZN93zQGfv7NJydFr9YmOn5"
_WANTED = "/etc/pinnace/certs.d/docker.io/hosts.toml"

# What is wrong with each sick board: a command as root on it.
SICK = {
    "hanging": "echo 'ForceCommand sleep 1000' > /etc/ssh/sshd_config.d/hang.conf && systemctl reload ssh",
    "readonly": "mount --bind /etc /etc && mount -o remount,ro,bind /etc",
    "full": "mkdir -p /etc/pinnace && mount -t tmpfs -o size=16k tmpfs /etc/pinnace",
    "killed": "systemd-run --quiet sh -c 'while :; do pkill -9 -f ^python3.*[m]eta_path; sleep 0.02; done'",
    "stranger": "true",
}


class Fleet:
    """Boards by name, and a laptop whose inventory has them."""

    def __init__(self, folder: Path) -> None:
        self.healthy = [f"h{number}" for number in range(1, HEALTHY + 1)]
        self.boards = {name: boards.get(f"emu-amd64-{name}") for name in [*self.healthy, *SICK]}
        (folder / ".ssh").mkdir()
        self._known = folder / ".ssh" / "known_hosts"
        # Another home has other known hosts; what is cached and what runs stays where it is.
        self.laptop = Laptop(
            folder,
            HOME=str(folder),
            XDG_CACHE_HOME=str(cache_dir().parent),
            XDG_STATE_HOME=str(state_dir().parent),
        )

    def start(self) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self._fall_ill, SICK))
        # The sick come first, so that the healthy have their turn beside them.
        lines = [f"{name} board={self.boards[name].name}" for name in [*SICK, *self.healthy] if name != "stranger"]  # fmt: skip
        stranger = self.boards["stranger"]
        assert isinstance(stranger, EmulatedBoard)
        self._known.write_text(f"{stranger.address} {_OTHER_KEY}\n")
        lines += [
            f"stranger ansible_host={stranger.address} ansible_user=pi ansible_ssh_private_key_file={stranger.ssh_key}",
            f"dead ansible_host={_NOBODY}",
        ]
        self.laptop.inventory("[fleet]\n" + "\n".join(lines) + "\n[fleet:vars]\nroles=registry\n")

    def _fall_ill(self, name: str) -> None:
        self.on(name, SICK[name])

    def on(self, name: str, command: str) -> str:
        board = self.boards[name]
        done = subprocess.run(
            board.ssh_command([shlex.join(["sudo", "sh", "-c", command])]), capture_output=True, text=True, timeout=60, check=True
        )  # fmt: skip
        return done.stdout

    def rollout(self, *words: str) -> Ended:
        done = self.laptop.inv("rollout", "--json", *words)
        events = [json.loads(line) for line in done.stdout.splitlines()]
        about = [event for event in events if event["event"] == "host"]
        began = {event["host"]: event["at"] for event in reversed(about)}
        return Ended(
            done.returncode,
            {event["host"]: event["status"] for event in about},
            {event["host"]: event["detail"] for event in reversed(about) if "detail" in event},
            {event["host"]: event["at"] - began[event["host"]] for event in about},
            {event["host"]: event["at"] - events[0]["at"] for event in about},
            events[-1]["at"] - events[0]["at"],
        )


@dataclass(frozen=True, slots=True)
class Ended:
    """A rollout: its exit status, and of each host its last status, why it failed, and its times.

    ``took``: seconds that its turn took; ``ended`` and ``seconds``: from the rollout's beginning.
    """

    code: int
    last: dict[str, str]
    why: dict[str, str]
    took: dict[str, float]
    ended: dict[str, float]
    seconds: float


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    made = Fleet(tmp_path_factory.mktemp("fleet"))
    with fresh(*made.boards.values()):
        made.start()
        yield made


def test_the_sick_are_named_and_hold_nobody(fleet: Fleet, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    found = fleet.rollout(
        "--limit", "fleet", "--canary", "h1", "--batch", "100%", "--max-fail", "6", "--host-time", f"{_LIMIT - 1}s",
        "--revert", "nothing", "--health-time", "0s", "--health-limit", "1s", "--report", str(page),
    )  # fmt: skip
    last, why = found.last, found.why
    assert found.code == 2, why
    assert {name: last[name] for name in fleet.healthy} == dict.fromkeys(fleet.healthy, "changed")
    for name, pattern in {
        "hanging": "not done after",
        "readonly": "read-only",
        "full": "full|not enough|needs",
        "killed": "killed by a signal|ended",
        "stranger": "host key of .* has changed",
        "dead": "No route|no answer",
    }.items():
        assert last[name] not in ("ok", "changed"), name
        assert re.search(pattern, why[name], re.IGNORECASE), why[name]
    assert last["dead"] == last["stranger"] == "unreachable"
    for name in fleet.healthy:
        assert "docker.io" in fleet.on(name, f"cat {_WANTED}")
    for name in ("readonly", "full", "killed", "stranger"):
        assert fleet.on(name, f"find /etc/pinnace -name '*.pinnace-*'; ls {_WANTED} || true") == ""
    assert max(found.took.values()) < _LIMIT + 2
    assert found.seconds < max(found.ended[name] for name in fleet.healthy) + _LIMIT
    assert all(name in page.read_text() for name in last)


def test_who_was_healed_has_its_turn_when_it_is_resumed(fleet: Fleet) -> None:
    found = fleet.rollout("--limit", "fleet:!hanging:!stranger:!dead:!full", "--batch", "100%", "--max-fail", "0", "--revert", "nothing")  # fmt: skip
    assert found.code == 8
    fleet.on("killed", "systemctl stop 'run-*.service'")
    fleet.on("readonly", "umount -l /etc")
    found = fleet.rollout("--resume", "latest")
    assert found.code == 0
    assert found.last == {"killed": "changed", "readonly": "changed"}


def test_a_rollback_puts_back_what_was_there(fleet: Fleet) -> None:
    before = fleet.on("h1", "ls /etc/pinnace/certs.d")
    assert "docker.io" in before
    done = fleet.laptop.inv("rollback", "--host", "h1")
    assert done.returncode == 0, done.stderr
    assert fleet.on("h1", "ls /etc/pinnace 2>&1; true").endswith("No such file or directory\n")
    done = fleet.laptop.inv("rollback", "--host", "h1")
    assert "nothing to put back" in done.stderr
