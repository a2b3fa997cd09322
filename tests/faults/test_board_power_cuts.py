"""Real power cuts of a whole machine while it pulls, unpacks, deletes and collects images.

``PINNACE_BOARD_CUTS`` is how many (none where it is not set: each is a boot), ``PINNACE_CUT_BOARD`` names the board.
The daemon does not start by itself after a cut, so that the store is seen as the cut left it.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.laptop import Laptop
from toolkit import boards
from toolkit.boards import network
from toolkit.boards.system import image, tools
from toolkit.boards.system.board import SystemBoard
from toolkit.errors import PinnaceError
from toolkit.pytest_boards import RunningBoard

CUTS = int(os.environ.get("PINNACE_BOARD_CUTS", "0"))
KIND = os.environ.get("PINNACE_CUT_BOARD", "sys-arm64")
SEED = int(os.environ.get("PINNACE_CUT_SEED", "2026"))

pytestmark = [
    pytest.mark.root, pytest.mark.emulated, pytest.mark.timeout(4 * 3600),
    pytest.mark.skipif(not CUTS, reason="PINNACE_BOARD_CUTS says how many; each is a boot"),
]  # fmt: skip

# The registry has the bigger ones for one processor only, which is all the same to a store.
PULLS = {
    f"{network.REGISTRY}/library/busybox:latest": "--platform linux/amd64",
    f"{network.REGISTRY}/library/nginx:latest": "--platform linux/amd64",
    f"{network.REGISTRY}/pause:3.10": "",
}
_CHECKER = Path(__file__).with_name("board_store.py")
_SPARED = (0.0, 0.3, 0.9)
"""Shares of the unflushed blocks that a cut lets through: a disk may write some of them, in any order."""


def pull(board: RunningBoard, name: str) -> None:
    board.run(f"ctr images pull {PULLS[name]} {name}", sudo=True, timeout=600)


class Life:
    """What happens on the board until its power is cut, and what it had reported by then."""

    def __init__(self, board: RunningBoard, chance: random.Random, present: set[str]) -> None:
        self.promised = set(present)
        self.done = 0
        self._board = board
        self._chance = chance
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._thread.join(120)
        assert not self._thread.is_alive()

    def _live(self) -> None:
        try:
            while True:
                self._step()
                self.done += 1
        except PinnaceError:
            pass  # the power is off

    def _step(self) -> None:
        name = self._chance.choice(sorted(PULLS))
        if name not in self.promised:
            pull(self._board, name)
            self.promised.add(name)
            return
        # From here on it may be gone, whether the answer comes or not.
        self.promised.discard(name)
        how = self._chance.choice(("--sync", ""))
        self._board.run(f"ctr images rm {how} {name}", sudo=True)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBoard]:
    """A board with our runtime, which does not start by itself; kept as ``ready``."""
    inner = boards.get(f"{KIND}-cuts")
    assert isinstance(inner, SystemBoard)
    inner.destroy()  # of a run that was killed
    inner.ensure_started(yes=True)
    running = RunningBoard(inner, KIND)
    try:
        laptop = Laptop(tmp_path_factory.mktemp("laptop"))
        laptop.inventory(f"subject board={inner.name}\n")
        done = laptop.inv("provision", "--host", "subject", "--no-verify", limit=3000)
        assert done.returncode == 0, done.stdout + done.stderr
        running.run("systemctl disable pinnaced", sudo=True)
        yield running
    finally:
        running.discard()


def stored(board: RunningBoard) -> dict[str, Any]:
    """What the store says of itself, while no daemon runs."""
    done = board.run("python3 -", sudo=True, stdin=_CHECKER.read_bytes(), timeout=600)
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def see_damage(board: RunningBoard) -> None:
    """The check finds what a cut could do: a blob of no bytes behind a valid record."""
    find = "find /var/lib/pinnace -type f -path '*/blobs/sha256/*' | head -1"
    blob = board.run(find, sudo=True).text
    board.run(f"cp -p {blob} /root/kept && : >{blob}", sudo=True)
    assert stored(board)["bad"] == [f"sha256:{blob.rpartition('/')[2]}"]
    board.run(f"cp -p /root/kept {blob} && rm /root/kept", sudo=True)
    assert not stored(board)["bad"]


def fsck(board: RunningBoard, scratch: Path) -> None:
    """The root file system of a board that is off: whole once its journal is replayed, on a copy."""
    layer, disk = board._board._disk().layer, scratch / "root.img"  # type: ignore[attr-defined]
    convert = [*tools.command("usr/bin/qemu-img"), "convert", "--image-opts", "-O", "raw"]
    source = f"driver=raw,offset={image.ROOT_OFFSET},file.driver=qcow2,file.file.filename={layer}"
    subprocess.run([*convert, source, disk], check=True)
    try:
        # Bit 1: it has put right what is right to put right without asking, such as counts of free blocks.
        for option, fine in (("-p", {0, 1}), ("-fn", {0})):
            words = [*tools.command("usr/sbin/e2fsck"), option, disk]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            assert done.returncode in fine, f"e2fsck {option}: {done.stdout}{done.stderr}"
    finally:
        disk.unlink()


def test_what_was_reported_survives_power_cuts(board: RunningBoard, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    board.run("systemctl start pinnaced", sudo=True)
    for name in PULLS:
        pull(board, name)
    board.run("systemctl stop pinnaced", sudo=True)
    whole = stored(board)
    assert set(PULLS) <= set(whole["images"])
    assert not whole["bad"]
    see_damage(board)
    board.run("sync")
    held = steps = 0
    for number in range(CUTS):
        board.run("systemctl start pinnaced", sudo=True)
        present = set(board.run("ctr images ls -q", sudo=True).text.split()) & set(PULLS)
        life = Life(board, chance, present)
        time.sleep(chance.uniform(0.5, 12))
        spared, seed = chance.choice(_SPARED), chance.randrange(1 << 30)
        board.power_cut(kept=spared, seed=seed)
        life.end()
        what = f"cut {number} after {life.done} steps, {spared} spared, seed {seed}"
        print(what, flush=True)
        fsck(board, tmp_path)
        board.start()
        found = stored(board)
        assert not found["notice"], f"{what}: {found['notice']}"
        assert not found["bad"], f"{what}: {found['bad']}"
        lost = life.promised - set(found["images"])
        assert not lost, f"{what}: {lost} was reported as pulled and is lost"
        for layer, digest in found["layers"].items():
            assert whole["layers"][layer] == digest, f"{what}: the layer {layer} is another"
        heal(board, whole, what)
        print(f"{what}: {len(life.promised)} promises held", flush=True)
        held += len(life.promised)
        steps += life.done
    print(f"{CUTS} cuts during {steps} finished steps: {held} promises held")


def heal(board: RunningBoard, whole: dict[str, Any], what: str) -> None:
    """The next pulls go well, and then everything is as it was before any cut."""
    board.run("systemctl start pinnaced", sudo=True)
    for name in PULLS:
        try:
            pull(board, name)
        except PinnaceError as problem:
            pytest.fail(f"{what}: {name} cannot be pulled any more: {problem}")
    board.run("systemctl stop pinnaced", sudo=True)
    found = stored(board)
    assert not found["bad"], what
    assert found["layers"] == whole["layers"], what
    kernel = board.run("dmesg | grep -E 'EXT4-fs.*(error|warning)' || true", sudo=True).text
    assert not kernel, f"{what}: {kernel}"
