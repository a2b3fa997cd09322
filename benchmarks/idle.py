"""``idle``: memory of both stacks' daemons with nothing running, on a full-system ARM board.

* ``idle-daemon BOARD``: PSS of pinnaced and the keeper beside Debian's containerd, MiB. Each has answered its
  ``ctr version`` and then had nothing to do for 40 s: what the keeper has ready for a next command is there for 30.
* ``idle-daemon-ready BOARD``: the same after 10 s, with that.

``PINNACE_BENCH_BOARDS`` names other boards than ``sys-armv6l``. A board is provisioned for it, which takes the emulated
one some minutes; with user emulation the emulator's own memory would count, hence full-system boards.
"""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import stacks
from benchmarks.harness import Result, median
from toolkit import boards, console
from toolkit.boards.board import Board
from toolkit.debian import Archive
from toolkit.errors import PinnaceError, UsageError
from toolkit.paths import PROJECT
from toolkit.process import last_line

KINDS = "sys-armv6l"
ROUNDS = 3
_READY_SECONDS, _IDLE_SECONDS = 10.0, 40.0
_PEER = "/opt/peer"
_START_PEER = f"""set -e
systemd-run --quiet --unit=peer {_PEER}/containerd --config {_PEER}/config.toml
for second in $(seq 120); do
    {_PEER}/ctr --address /run/peer/peer.sock version >/dev/null 2>&1 && exec {_PEER}/containerd --version
    sleep 1
done
exit 1"""
_ANSWER = {"ours": "ctr version", "theirs": f"{_PEER}/ctr --address /run/peer/peer.sock version"}
_UNITS = {"ours": ["pinnaced.service", "pinnace-keeper.service"], "theirs": ["peer.service"]}
_PSS = """
import os, sys
total = 0
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        with open(f"/proc/{pid}/cgroup") as file:
            units = {line.strip().rpartition("/")[2] for line in file}
        if units & set(sys.argv[1:]):
            with open(f"/proc/{pid}/smaps_rollup") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    except (FileNotFoundError, ProcessLookupError):
        pass
print(total)
"""


def run() -> list[Result]:
    """Measure; raises :class:`PinnaceError` when a board or a daemon does not start."""
    kinds = os.environ.get("PINNACE_BENCH_BOARDS", KINDS).split(",")
    return [result for kind in kinds for result in _of_board(kind)]


def _of_board(kind: str) -> Iterator[Result]:
    board = boards.get(f"{kind}-idle{os.getpid()}")
    if board.tier != "system":
        raise UsageError(f"{kind}: its emulator's memory would count", hint="sys-armv6l, for one")
    try:
        with console.step(f"provision {kind}"):
            board.ensure_started(yes=True)
            _provision(board)
        with console.step("start containerd"):
            _on(board, f"mkdir -p {_PEER} && tar -xC {_PEER}", _peer(board))
            peer = " ".join(_on(board, _START_PEER).split()[::2][:2])
        with console.step(f"measure: {ROUNDS} times each"):
            measured = {"ours": _idle(board, "ours"), "theirs": _idle(board, "theirs")}
    finally:
        board.destroy()
    for place, name in enumerate(("idle-daemon-ready", "idle-daemon")):
        ours, theirs = (median([found[place] for found in measured[side]]) for side in measured)
        yield Result(f"{name} {kind}", peer, ours, theirs, "MiB")


def _idle(board: Board, side: str) -> list[tuple[float, float]]:
    """MiB soon after a command and when nothing has come for longer, ``ROUNDS`` times."""
    found = []
    for _ in range(ROUNDS):
        _on(board, _ANSWER[side])
        time.sleep(_READY_SECONDS)
        ready = _pss(board, side)
        time.sleep(_IDLE_SECONDS - _READY_SECONDS)
        found.append((ready, _pss(board, side)))
    return found


def _pss(board: Board, side: str) -> float:
    found = int(_on(board, f"python3 - {' '.join(_UNITS[side])}", _PSS.encode()))
    if not found:
        raise PinnaceError(f"{board.name}: none of {', '.join(_UNITS[side])} runs")
    return found / 1024


def _peer(board: Board) -> bytes:
    """A tar archive of the peer's programs and its configuration."""
    tree = Archive(board.release, board.arch.facts.debian).unpack(["containerd"])
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in ("containerd", "ctr"):
            archive.add(tree / "usr/bin" / name, name)
        config = stacks.PEER_CONFIG.format(root=f"{_PEER}/root").encode()
        entry = tarfile.TarInfo("config.toml")
        entry.size = len(config)
        archive.addfile(entry, io.BytesIO(config))
    return packed.getvalue()


def _provision(board: Board) -> None:
    with tempfile.TemporaryDirectory() as folder:
        inventory = Path(folder, "inventory.ini")
        inventory.write_text(f"subject board={board.name}\n")
        words = [sys.executable, "-m", "invoke", "--search-root", str(PROJECT), "provision", "--inventory", str(inventory)]  # fmt: skip
        done = subprocess.run([*words, "--host", "subject", "--no-verify"], capture_output=True, text=True, timeout=3000, check=False)  # fmt: skip
    if done.returncode:
        raise PinnaceError(f"{board.name}: {last_line(done.stdout + done.stderr)}")


def _on(board: Board, script: str, data: bytes = b"") -> str:
    """What a script prints that runs as root on the board, ``data`` on its standard input."""
    words = board.ssh_command([shlex.join(["sudo", "sh", "-c", script])])
    done = subprocess.run(words, input=data, capture_output=True, timeout=900, check=False)
    if done.returncode:
        raise PinnaceError(f"{board.name}: {last_line(done.stderr.decode(errors='replace'))}")
    return done.stdout.decode()
