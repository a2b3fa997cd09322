"""Debian's sshd and sudo as boards have them: each in a root of its own, on a loopback address and port."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolkit.arch import Arch
from toolkit.arena import Arena
from toolkit.boards import root

USER, PASSWORD = "pi", "correct horse"
_SETUP = "mount -t tmpfs tmpfs {scratch} && mkdir {scratch}/u {scratch}/w {scratch}/root && mount -t overlay overlay -o lowerdir={lower},upperdir={scratch}/u,workdir={scratch}/w {scratch}/root && mount -t proc proc {scratch}/root/proc && mount --rbind /dev {scratch}/root/dev && mkdir -p {scratch}/root/run/sshd && mount -t devpts -o newinstance,ptmxmode=666 devpts {scratch}/root/dev/pts"  # fmt: skip


class Sshd:
    """One of them, running; a laptop's key may log in as ``pi``, and ``pi`` may use sudo with a password."""

    def __init__(self, arena: Arena, folder: Path, port: int) -> None:
        self.arena = arena
        self.port = port
        self._folder = folder
        self.root = str(folder / "root")

    def sh(self, script: str) -> str:
        """Run a shell script as root on the board."""
        done = self.arena.run(["chroot", self.root, "sh", "-euc", script])
        assert done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    @property
    def host_key(self) -> str:
        """Type and key."""
        return " ".join(self.sh("cat /etc/ssh/ssh_host_ed25519_key.pub").split()[:2])

    def known(self) -> str:
        """The known_hosts line."""
        return f"[127.0.0.1]:{self.port} {self.host_key}"

    def new_host_key(self) -> None:
        self.sh("rm /etc/ssh/ssh_host_ed25519_key*; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key")  # fmt: skip

    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    def serve(self, options: str = "") -> None:
        """Start sshd (a fresh one when it ran)."""
        self.sh("[ ! -e /run/sshd.pid ] || kill $(cat /run/sshd.pid) || true")
        wait_for(lambda: not _listens(self.port))
        words = ["/usr/sbin/sshd", "-D", "-e", "-p", str(self.port), "-o", "ListenAddress=127.0.0.1", "-o", "LogLevel=DEBUG1", "-o", "HostKey=/etc/ssh/ssh_host_ed25519_key", "-o", "UsePAM=no", "-o", "PasswordAuthentication=yes", *shlex.split(options)]  # fmt: skip
        with open(self._folder / "log", "ab") as output:
            subprocess.Popen(self.arena.command(["chroot", self.root, *words]), stdin=subprocess.DEVNULL, stdout=output, stderr=output)  # fmt: skip
        wait_for(lambda: _listens(self.port))


def _listens(port: int) -> bool:
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[1] == f"0100007F:{port:04X}" and row[3] == "0A" for row in rows)


def connections(port: int) -> int:
    """Established connections to a loopback port, seen from its server."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1] == f"0100007F:{port:04X}" and row[3] == "01" for row in rows)


def wait_for(condition: object, seconds: float = 30) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@contextmanager
def sshd(public_key: str, *, options: str = "") -> Iterator[Sshd]:
    """Run one that takes the key; ``options`` are words of sshd's command line."""
    machine = Arch.from_machine(os.uname().machine)
    lower = root.build(machine, "bookworm", machine.facts.debian, yes=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (
        tempfile.TemporaryDirectory() as folder,
        Arena(_SETUP.format(scratch=folder, lower=lower)) as arena,
    ):
        made = Sshd(arena, Path(folder), port)
        made.sh(f"id {USER} >/dev/null || useradd -m -s /bin/sh {USER}; echo '{USER}:{PASSWORD}' | chpasswd; usermod -aG sudo {USER}")  # fmt: skip
        made.sh("rm -f /etc/ssh/ssh_host_* /etc/sudoers.d/*; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key")  # fmt: skip
        made.sh(f"mkdir -p -m 700 /home/{USER}/.ssh; echo '{public_key}' >/home/{USER}/.ssh/authorized_keys; chown -R {USER} /home/{USER}/.ssh")  # fmt: skip
        made.serve(options)
        yield made
