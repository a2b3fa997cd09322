"""As many idle containers as one board is asked to hold: all run, there is memory left, and all end again.

``PINNACE_IDLE_CONTAINERS`` is how many (none where it is not set: a small board takes seconds for each),
``PINNACE_IDLE_BOARD`` names the board.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest

from tests.laptop import Laptop
from toolkit import boards
from toolkit.boards import network
from toolkit.pytest_boards import RunningBoard

COUNT = int(os.environ.get("PINNACE_IDLE_CONTAINERS", "0"))
KIND = os.environ.get("PINNACE_IDLE_BOARD", "sys-armv6l")

pytestmark = [
    pytest.mark.root, pytest.mark.emulated, pytest.mark.timeout(2 * 3600),
    pytest.mark.skipif(not COUNT, reason="PINNACE_IDLE_CONTAINERS says how many; a small board takes seconds for each"),
]  # fmt: skip

_IMAGE = f"{network.REGISTRY}/library/busybox:latest"
_LEFT = 64
"""MiB that a board of 512 has to have available beside its containers, for an SSH login and a pull."""

_START = f"""
set -e
for number in $(seq {COUNT}); do
    ctr run -d --null-io {_IMAGE} idle$number sleep 1000000
done
"""
_STOP = """
set -e
names=$(ctr task ls -q)
ctr task rm --force $names >/dev/null
ctr container rm $names
"""


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBoard]:
    """A provisioned board that has the image."""
    inner = boards.get(f"{KIND}-idle")
    inner.destroy()  # of a run that was killed
    inner.ensure_started(yes=True)
    running = RunningBoard(inner, KIND)
    try:
        laptop = Laptop(tmp_path_factory.mktemp("laptop"))
        laptop.inventory(f"subject board={inner.name}\n")
        done = laptop.inv("provision", "--host", "subject", "--no-verify", limit=3000)
        assert done.returncode == 0, done.stdout + done.stderr
        running.run(f"ctr images pull {_IMAGE}", sudo=True, timeout=600)
        yield running
    finally:
        running.discard()


def _running(board: RunningBoard) -> int:
    return int(board.run("ctr task ls | grep -c RUNNING || true", sudo=True, timeout=300).text)


def _available(board: RunningBoard) -> int:
    """MiB."""
    return int(board.run("awk '/^MemAvailable/ {print $2}' /proc/meminfo").text) // 1024


def _timed(action: Callable[[], object]) -> float:
    begin = time.monotonic()
    action()
    return time.monotonic() - begin


def test_all_run_at_once_and_end(board: RunningBoard) -> None:
    before = _available(board)
    started = _timed(lambda: board.run(_START, sudo=True, timeout=3600))
    assert _running(board) == COUNT
    # The last shims doze a few seconds after they were last spoken to.
    time.sleep(30)
    listed = _timed(lambda: board.run("ctr task ls", sudo=True, timeout=300))
    during = _available(board)
    said = board.run(f"ctr task exec --exec-id e idle{COUNT} echo here", sudo=True, timeout=300)
    assert said.text == "here"
    stopped = _timed(lambda: board.run(_STOP, sudo=True, timeout=3600))
    print(
        f"{board.name}: {COUNT} idle containers started in {started:.0f} s, listed in {listed:.1f} s, stopped in {stopped:.0f} s; "
        f"available memory {before} MiB before, {during} with all, {_available(board)} after"
    )  # fmt: skip
    assert during > _LEFT
    assert _running(board) == 0
    assert board.run("pgrep -fc '[s]leep 1000000' || true", sudo=True).text == "0"
    oom = board.run("dmesg | grep -i 'out of memory' || true", sudo=True).text
    assert not oom, oom
