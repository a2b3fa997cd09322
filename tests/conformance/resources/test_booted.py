"""Workloads, mounts, swap and a reboot in the middle of a plan, through `./inv provision` on a board that really boots."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator

import pytest

from tests.fresh import fresh
from tests.laptop import Laptop
from toolkit import boards
from toolkit.boards import capability
from toolkit.boards.board import Board

pytestmark = [pytest.mark.root, pytest.mark.emulated, pytest.mark.timeout(3600)]

BOARD = os.environ.get("PINNACE_BOOTED_BOARD", "emu-amd64")
"""On which board; `sys-arm64` has a kernel of its own, and swap with it."""

ROLE = '''
from pathlib import Path
from toolkit.resources import *

def recipe(board):
    yield File(path="/etc/before", source=b"1\\n", notify=(REBOOT,))
    yield Reboot()
    yield File(path="/etc/after", source=b"1\\n")
    yield Mount(path="/srv/www", source="tmpfs", fstype="tmpfs", options=("nosuid", "size=1m"))
    if SWAP:
        yield Swap(path="/var/swap", size=4 << 20)
    yield Image(reference="docker.io/library/busybox:latest")
    yield Container(
        container="web", image="docker.io/library/busybox:latest", command=("sh", "-c", "trap exit TERM; httpd -p 127.0.0.1:8081 -h /www; while :; do sleep 1; done"),
        mounts=("/srv/www:/www:ro",), network="host", after=("srv-www.mount",),
    )
    yield from compose(Path(__file__).with_name("compose.yaml"), project="home")
'''  # fmt: skip
COMPOSE = """services:
  door:
    image: docker.io/library/busybox:latest
    command: [sh, -c, "trap exit TERM; while true; do sleep 1; done"]
    depends_on: [bell]
    mem_limit: 32m
  bell:
    image: docker.io/library/busybox:latest
    command: [sh, -c, 'echo ding; trap exit TERM; while true; do sleep 1; done']
    environment: {TONE: "440 Hz"}
    restart: unless-stopped
"""


@pytest.fixture(scope="module")
def board() -> Iterator[Board]:
    found = boards.get(f"{BOARD}-booted")
    with fresh(found):
        yield found


@pytest.fixture(scope="module")
def laptop(board: Board, tmp_path_factory: pytest.TempPathFactory) -> Laptop:
    """Its inventory has the board, with a role of its own after those that every board has."""
    folder = tmp_path_factory.mktemp("laptop")
    swap = capability.OWN_KERNEL in board.shows  # swap is the kernel's, which a native board shares
    (folder / "roles").mkdir()
    (folder / "roles" / "booted.py").write_text(f"SWAP = {swap}\n{ROLE}")
    (folder / "roles" / "compose.yaml").write_text(COMPOSE)
    made = Laptop(folder, PINNACE_ROLES=str(folder / "roles"))
    made.inventory(f"subject board={board.name} roles='base,kernel,registry,runtime,booted'\n")
    return made


def on(board: Board, script: str) -> str:
    words = board.ssh_command([shlex.join(["sudo", "sh", "-c", script])])
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{script}: {done.stderr}"
    return done.stdout.strip()


def boot_id(board: Board) -> str:
    return on(board, "cat /proc/sys/kernel/random/boot_id")


WELL = """
for n in $(seq 120); do
    page=$(ctr task exec --exec-id w$n web wget -qO- http://127.0.0.1:8081/page 2>&1)
    running=$(ctr task ls | grep -c RUNNING)
    [ "$page $running" = "hello 3" ] && break
    sleep 0.5
done
echo "$page $running"
"""


def test_a_plan_goes_on_after_the_reboot_in_its_middle(board: Board, laptop: Laptop) -> None:
    before = boot_id(board)
    done = laptop.inv("provision", "--host", "subject", "--no-verify", limit=1500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "reboot" in done.stderr
    assert boot_id(board) != before
    on(
        board,
        "test /etc/before -ot /proc/1 && test /etc/after -nt /proc/1 && echo hello > /srv/www/page",
    )
    assert on(board, WELL) == "hello 3"
    assert "440 Hz" in on(board, "ctr task exec --exec-id e home-bell env")
    if capability.OWN_KERNEL in board.shows:
        assert "/var/swap" in on(board, "cat /proc/swaps")


def test_the_second_run_changes_nothing_and_stays_in_its_boot(board: Board, laptop: Laptop) -> None:
    before = boot_id(board)
    done = laptop.inv("provision", "--host", "subject", "--no-verify", limit=900)
    assert done.returncode == 0, done.stderr
    assert "changed=0" in done.stderr
    assert boot_id(board) == before
    assert laptop.inv("plan", "--host", "subject", limit=900).returncode == 0


def test_everything_is_back_after_a_reboot(board: Board, laptop: Laptop) -> None:
    board.stop()
    board.start()
    assert "tmpfs" in on(board, "findmnt -n -o FSTYPE /srv/www; echo hello > /srv/www/page")
    assert on(board, WELL) == "hello 3"
    on(
        board,
        "timeout 60 sh -c 'until journalctl -b -t container-home-bell | grep ding; do sleep 1; done'",
    )
    if capability.OWN_KERNEL in board.shows:
        assert "/var/swap" in on(board, "cat /proc/swaps")
    done = laptop.inv("plan", "--host", "subject", limit=900)
    assert done.returncode == 0, done.stdout + done.stderr
