"""Searching for values that are secret: what programs were executed with, what a board and this machine have."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.laptop import Laptop
from toolkit.boards.emulated import EmulatedBoard
from toolkit.paths import PROJECT

Strace = list[str]

_RUN = "import roles, sys; roles.__path__.append(sys.argv.pop(1)); from invoke.main import program; program.run()"


@dataclass(frozen=True, slots=True)
class Canaries:
    """Secret values, by a word for each that says how it came."""

    values: Mapping[str, str]

    def found_in(self, data: bytes) -> set[str]:
        return {way for way, value in self.values.items() if any(form in data for form in forms(value))}  # fmt: skip

    def places(self, board: EmulatedBoard) -> dict[str, set[str]]:
        """Every file of the board that has a canary in it, in clear or base64, and which."""
        patterns = [form for value in self.values.values() for form in forms(value)]
        script = "grep -rlaF --exclude-dir=proc --exclude-dir=sys -f - / <<'EOF' || true\n" + b"\n".join(patterns).decode() + "\nEOF\n"  # fmt: skip
        names = [name for name in on(board, script).decode().splitlines() if name]
        return {name: self.found_in(on(board, f"cat '{name}'")) for name in names}

    def below(self, *folders: Path) -> dict[str, set[str]]:
        """The same of directories of this machine."""
        found = {}
        for folder in folders:
            for path in folder.rglob("*"):
                if "boards" in path.parts:
                    continue  # what is in there is the board
                if path.is_file() and not path.is_symlink() and self.found_in(path.read_bytes()):
                    found[str(path)] = self.found_in(path.read_bytes())
        return found


def forms(text: str) -> list[bytes]:
    """What may be left of ``text`` in a file: itself, or base64 of something it is in."""
    raw = text.encode()
    coded = [base64.b64encode(b" " * shift + raw)[4:-4] for shift in range(3)]
    return [raw, *coded]


def keys(age: Path, file: Path) -> str:
    """Make a key of age in ``file``; gives who to encrypt to."""
    subprocess.run([age / "age-keygen", "-o", file], check=True, capture_output=True)
    return subprocess.run([age / "age-keygen", "-y", file], check=True, capture_output=True, text=True).stdout.strip()  # fmt: skip


class Secretive(Laptop):
    """A laptop with roles of its own."""

    def run(self, *words: str, before: Sequence[str] = (), **variables: str) -> subprocess.CompletedProcess[bytes]:  # fmt: skip
        command = [*before, sys.executable, "-c", _RUN, str(self._folder / "roles"), words[0], "--inventory", str(self._folder / "inventory.ini"), *words[1:]]  # fmt: skip
        return subprocess.run(command, cwd=PROJECT, capture_output=True, check=False, timeout=300, env={**self._environment, **variables})  # fmt: skip


def on(board: EmulatedBoard, script: str) -> bytes:
    return subprocess.run(board.ssh_command(["sudo", "sh", "-s"]), input=script.encode(), capture_output=True, check=True, timeout=120).stdout  # fmt: skip


@contextmanager
def executed(strace: Strace, board: EmulatedBoard, file: Path) -> Iterator[None]:
    """Every program that the board's systemd and sshd, and what they start, execute: a line each in ``file``."""
    space = on(board, "readlink /proc/self/ns/pid").decode().strip()
    pids = [path.name for path in Path("/proc").glob("[0-9]*") if _in(path, space)]
    assert len(pids) >= 2, "systemd and sshd"
    words = [*strace, "-o", str(file), *(word for pid in pids for word in ("-p", pid))]
    with subprocess.Popen(words, stderr=subprocess.PIPE) as tracer:
        deadline = time.monotonic() + 30
        while not all("TracerPid:\t0" not in Path("/proc", pid, "status").read_text() for pid in pids):  # fmt: skip
            assert tracer.poll() is None and time.monotonic() < deadline, tracer.stderr  # noqa: PT018
            time.sleep(0.05)
        try:
            yield
        finally:
            tracer.terminate()
            tracer.wait(30)


def _in(process: Path, space: str) -> bool:
    try:
        name = (process / "comm").read_text().strip()
        return name in ("systemd", "sshd") and os.readlink(process / "ns/pid") == space
    except OSError:
        return False
