"""``boards``: how long a board takes, beside what makes or boots the same without our toolkit.

* ``create-cold``: ``./inv board create`` with empty caches, downloads and all; beside mmdebstrap, which makes a root
  file system of the same packages and runs their maintainer scripts.
* ``start-first``: with the same caches the first start of a full-system board, which boots it to be kept and then
  restores it. Nobody else does that.
* ``start-cached``: a new board, from its cached root or image to an SSH login; beside systemd-nspawn, which boots the
  same root until its SSH server has started.
* ``restore``: a full-system board back to its snapshot, until a command has run on it. Nobody else does that.

``PINNACE_BENCH_BOARDS`` names other boards than the three of every run; ``PINNACE_BENCH_FULL=1`` has mmdebstrap make
foreign roots, too, which takes minutes each because everything is emulated.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness import Result, interleaved, median
from toolkit import boards, console, debian, debian_program, host
from toolkit.boards import root
from toolkit.boards.board import Board
from toolkit.errors import PinnaceError
from toolkit.paths import PROJECT, state_dir
from toolkit.process import last_line

KINDS = ("emu-amd64", "emu-armv6l", "sys-arm64")
ROUNDS, WARM_UP = 3, 1
_PEER_SUITE = "trixie"
_BOOT_SECONDS = 120.0


def run() -> list[Result]:
    """Measure; raises :class:`PinnaceError` when a board or a peer does not start."""
    host.need_root("measuring boards")
    kinds = os.environ.get("PINNACE_BENCH_BOARDS", ",".join(KINDS)).split(",")
    results: list[Result] = []
    for kind in kinds:
        results += _of_board(boards.get(f"{kind}-bench{os.getpid()}"), kind)
    return results


def _of_board(board: Board, kind: str) -> Iterator[Result]:
    yield from _cold(board, kind)
    try:
        if board.tier == "system":
            yield from _of_machine(board, kind)
        else:
            yield _start_beside_nspawn(board, kind)
    finally:
        board.destroy()


def _timed(action: Callable[[], object]) -> float:
    started = time.monotonic()
    action()
    return time.monotonic() - started


def _cold(board: Board, kind: str) -> Iterator[Result]:
    """Once each: it is about minutes, and mostly about the network."""
    first = None
    with _empty() as place:
        environment = {**os.environ, "XDG_CACHE_HOME": str(place / "cache"), "XDG_STATE_HOME": str(place / "state"), "CI": "true"}  # fmt: skip
        words = [sys.executable, "-m", "invoke", "--search-root", str(PROJECT), "board"]
        try:
            with console.step(f"create {kind} with empty caches"):
                ours = _timed(lambda: _run([*words, "create", board.name], environment))
            if board.tier == "system":
                with console.step(f"start {kind} for the first time"):
                    first = _timed(lambda: _run([*words, "start", board.name], environment))
        finally:
            _run([*words, "destroy", board.name], environment)
        theirs = None
        if board.tier == "native" or os.environ.get("PINNACE_BENCH_FULL") == "1":
            with console.step(f"mmdebstrap for {kind}"):
                theirs = _timed(lambda: _run(_mmdebstrap(board, place / "root"), environment))
    yield Result(f"create-cold {kind}", "mmdebstrap" if theirs else "", ours, theirs, "s")
    if first is not None:
        yield Result(f"start-first {kind}", "", first, None, "s")


def _mmdebstrap(board: Board, target: Path) -> list[str]:
    return [
        "mmdebstrap", "--mode=root", "--variant=minbase",
        f"--architectures={board.arch.facts.debian}", f"--include={','.join(root.PACKAGES)}",
        *(f"--aptopt={line}" for line in debian.machine_acquire()),
        board.release, str(target), *debian.machine_sources().lines(board.release),
    ]  # fmt: skip


def _of_machine(board: Board, kind: str) -> Iterator[Result]:
    board.ensure_started(yes=True)  # the snapshot that all others start from
    started, restored = [], []
    with console.step(f"start and restore {kind}: {ROUNDS} times"):
        for _ in range(ROUNDS):
            board.destroy()
            started.append(_timed(lambda: board.ensure_started(yes=True)))
            restored.append(_timed(lambda: _restore(board)))
    yield Result(f"start-cached {kind}", "", median(started), None, "s")
    yield Result(f"restore {kind}", "", median(restored), None, "s")


def _restore(board: Board) -> None:
    board.restore()
    _run(board.ssh_command(["true"]), dict(os.environ))


def _start_beside_nspawn(board: Board, kind: str) -> Result:
    # A running board of the kind has its emulator registered, for nspawn's benefit.
    held = boards.get(f"{kind}-held{os.getpid()}")
    try:
        held.ensure_started(yes=True)
        lower = root.build(board.arch, board.release, host.debian_arch(), yes=True)
        nspawn = _nspawn()

        def ours() -> float:
            board.destroy()
            return _timed(lambda: board.ensure_started(yes=True))

        with console.step(f"start {kind} and boot it in systemd-nspawn: {ROUNDS} times each"):
            measured = interleaved(
                ours, lambda: _boot_in_nspawn(nspawn, lower), rounds=ROUNDS, warm_up=WARM_UP
            )
    finally:
        held.destroy()
    return Result(
        f"start-cached {kind}", "systemd-nspawn", median(measured[0]), median(measured[1]), "s"
    )


def _nspawn() -> list[str]:
    """systemd-nspawn of an unpacked package; its own libraries are in a folder of their own."""
    loader, option, folders, program = debian_program.command(_PEER_SUITE, "systemd-container", "usr/bin/systemd-nspawn")  # fmt: skip
    private = [f"{folder}/systemd" for folder in folders.split(":")]
    return [loader, option, ":".join([folders, *private]), program]


def _boot_in_nspawn(nspawn: list[str], lower: Path) -> float:
    with _empty() as place:
        for name in ("upper", "work", "root"):
            (place / name).mkdir()
        started = time.monotonic()
        options = f"lowerdir={lower},upperdir={place}/upper,workdir={place}/work"
        _run(["mount", "-t", "overlay", "overlay", "-o", options, str(place / "root")], dict(os.environ))  # fmt: skip
        try:
            name = f"--machine=bench{os.getpid()}"
            words = [
                "-q",
                name,
                "--register=no",
                "--keep-unit",
                "--private-network",
                "--boot",
                "-D",
            ]
            with subprocess.Popen(
                [*nspawn, *words, str(place / "root")],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            ) as process:  # fmt: skip
                try:
                    _wait_until_ready(process)
                    return time.monotonic() - started
                finally:
                    _power_off(process)
        finally:
            _run(["umount", "--lazy", str(place / "root")], dict(os.environ))


def _wait_until_ready(process: subprocess.Popen[bytes]) -> None:
    deadline, said = time.monotonic() + _BOOT_SECONDS, ""
    for line in process.stdout or ():
        text = line.decode(errors="replace")
        said += text
        # A terminal's colours stand between the words.
        if "Started" in text and "ssh.service" in text:
            return
        if time.monotonic() > deadline:
            break
    raise PinnaceError(f"systemd-nspawn starts no SSH server: {last_line(said)}")


def _power_off(process: subprocess.Popen[bytes]) -> None:
    """Asked to end, systemd-nspawn takes away what it made; killed, it does not."""
    process.terminate()
    try:
        process.communicate(timeout=_BOOT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


@contextmanager
def _empty() -> Iterator[Path]:
    """An empty directory where boards can be: not on an overlay."""
    with tempfile.TemporaryDirectory(dir=state_dir("bench")) as place:
        yield Path(place)


def _run(words: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PinnaceError(f"{' '.join(words[:8])} failed: {last_line(done.stderr)}")
