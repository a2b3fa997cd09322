"""Our daemon in an arena of its own, and Debian's ctr of three releases to drive it."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

from tests.conformance.ctr.daemons import busybox
from toolkit.arch import Arch
from toolkit.arena import Arena
from toolkit.debian import Archive
from toolkit.paths import RUNTIME

CTR_RELEASES = {"1.6": "bookworm", "1.7": "trixie", "2.1": "sid"}
"""containerd's release series, and the Debian release that has it."""
ADDRESS = "/run/pinnace/pinnace.sock"
_KEEPER = "/run/pinnace/keeper.sock"
_CONFIG = """\
version = 3
root = "{root}"
state = "/run/pinnace"
[grpc]
address = "/run/pinnace/pinnace.sock"
[debug]
level = "debug"
[plugins."io.pinnace.keeper"]
address = "/run/pinnace/keeper.sock"
"""


@cache
def peer(series: str) -> Path:
    """The unpacked packages of Debian's containerd."""
    arch = Arch.from_machine(os.uname().machine)
    return Archive(CTR_RELEASES[series], arch.facts.debian).unpack(["containerd"])


class World:
    """The daemon under test. ``ctr`` runs Debian's ctr of the chosen series against it.

    What runs containers must be in the namespace that is named after the arena, for its cgroups.
    """

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.archive = arena.scratch / "busybox.tar"
        self.archive.write_bytes(busybox())
        self._config = arena.scratch / "config.toml"
        self._config.write_text(_CONFIG.format(root=arena.scratch / "root"))
        self._daemon: subprocess.Popen[bytes] | None = None
        self.series = "1.7"
        self.runtime = RUNTIME
        """Where the daemon and the keeper are started from."""
        self.namespace = arena.name

    def start_keeper(self) -> None:
        words = [sys.executable, "-m", "pinnace.keeper", "--address", _KEEPER]
        self.arena.run(["mkdir", "-p", "/run/pinnace"])
        self.arena.start(words, log="keeper.log", env=self.environment())
        self.arena.wait_for(_KEEPER, log="keeper.log")

    def start(self) -> None:
        """Start the daemon and wait until it answers."""
        self._daemon = self.arena.start(
            self.daemon_words(), log="pinnaced.log", env=self.environment()
        )
        self.arena.wait_for(ADDRESS, log="pinnaced.log")
        deadline = time.monotonic() + 20
        while self.ctr("version").returncode:
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def daemon_words(self) -> list[str]:
        """The command line of the daemon."""
        words = [sys.executable, "-m", "pinnace.cli.main", "pinnaced", "--config"]
        return [*words, str(self._config)]

    def pid(self) -> int:
        """The daemon, as this machine numbers it."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(f"/proc/{self.arena.pid}/root{ADDRESS}")
            credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int(struct.unpack("iII", credentials)[0])

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self.runtime)}

    def log(self) -> str:
        return (self.arena.scratch / "pinnaced.log").read_text()

    def complaints(self) -> str:
        """The log without what happens all the time."""
        lines = [line for line in self.log().splitlines() if " debug connection " not in line]
        return "\n".join(lines[-30:])

    def stop(self, sig: str) -> int:
        """End the daemon with a signal; its exit status."""
        assert self._daemon is not None
        # What we started is nsenter; the daemon is its child.
        self.arena.run(["pkill", f"-{sig}", "-f", f"pinnaced --config {self._config}"])
        return self._daemon.wait(20)

    def reload(self, answer: str = "read the configuration again") -> str:
        """Send SIGHUP; the line of the log that answers it."""
        before = len(self.log())
        self.arena.run(["pkill", "-HUP", "-f", f"pinnaced --config {self._config}"])
        deadline = time.monotonic() + 20
        while True:
            lines = [line for line in self.log()[before:].splitlines() if answer in line]
            if lines:
                return lines[0]
            assert time.monotonic() < deadline, self.complaints()
            time.sleep(0.05)

    def ctr(self, *words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run Debian's ctr."""
        return self.arena.run(self.words(*words), **options)

    def words(self, *words: str | Path) -> list[str]:
        """The command line that ``ctr`` runs."""
        program = str(peer(self.series) / "usr/bin/ctr")
        common = ["--address", ADDRESS, "--namespace", self.namespace]
        return [program, *common, *map(str, words)]

    def ok(self, *words: str | Path, **options: Any) -> str:
        """Run ctr, which must succeed; what it prints."""
        done = self.ctr(*words, **options)
        assert done.returncode == 0, f"{words}: {done.stderr}\n{self.complaints()}"
        return done.stdout

    def first_column(self, *words: str) -> list[str]:
        """The first column of a table that ctr prints, without its heading."""
        return [line.split()[0] for line in self.ok(*words).splitlines()[1:] if line.strip()]

    def status(self, name: str) -> str:
        """What ``tasks ls`` says of a task; empty when there is none."""
        for line in self.ok("tasks", "ls").splitlines()[1:]:
            words = line.split()
            if words[0] == name:
                return words[2]
        return ""
