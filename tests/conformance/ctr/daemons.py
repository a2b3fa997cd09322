"""Daemons for the tests of ctr: Debian's containerd, and ours, each in an arena of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolkit import oci
from toolkit.arch import Arch
from toolkit.arena import Arena
from toolkit.debian import Archive
from toolkit.lab import recipes
from toolkit.paths import RUNTIME

IMAGE = "registry.lab/library/busybox:latest"
_ADDRESS = "/run/peer/peer.sock"
_CONFIG = """\
version = 2
root = "{root}"
state = "/run/peer"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "/run/peer/peer.sock"
[ttrpc]
address = "/run/peer/peer.sock.ttrpc"
"""


class Daemon:
    """A daemon that runs, and both ctr commands against it, in a namespace named after the arena."""

    def __init__(self, arena: Arena, address: str, peer: Path) -> None:
        self.arena = arena
        self.address = address
        self._peer = peer

    def words(self, *words: str) -> list[str]:
        """The command line of our ctr, to be run in the arena."""
        python = [sys.executable, "-m", "pinnace.cli.main", "ctr"]
        return [*python, "--address", self.address, "--namespace", self.arena.name, *words]

    def ctr(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run our ctr."""
        return self.arena.run(self.words(*words), env=environment(), **options)

    def theirs(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run Debian's ctr."""
        command: Sequence[str] = (str(self._peer / "usr/bin/ctr"), "--address", self.address)
        return self.arena.run([*command, "--namespace", self.arena.name, *words])


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(RUNTIME)}


def busybox() -> bytes:
    """An image layout (tar) with busybox for this machine."""
    arch = Arch.from_machine(os.uname().machine)
    packages = Archive(recipes.SUITE, arch.facts.debian).download(["busybox-static"])
    tree = recipes.busybox(packages)
    tree.file("etc/passwd", tree.read("etc/passwd").decode() + "web:x:33:44:web:/:/bin/sh\n")
    tree.file("etc/group", tree.read("etc/group").decode() + "web:x:44:\nextra:x:55:web\n")
    config = {"Env": [recipes.PATH], "Cmd": ["sh"], "Labels": {"maintainer": "lab"}}
    made = oci.image(arch.facts.oci, [oci.layer(tree.tar())], config, created=tree.mtime)
    return oci.layout([made], IMAGE)


_OURS = """\
version = 3
root = "{root}"
state = "/run/pinnace"
[grpc]
address = "/run/pinnace/pinnace.sock"
[plugins."io.pinnace.keeper"]
address = "/run/pinnace/keeper.sock"
"""


def start_pinnaced(arena: Arena) -> Daemon:
    """Start our keeper and daemon from the source tree, with the image imported by Debian's ctr."""
    config = arena.scratch / "ours.toml"
    config.write_text(_OURS.format(root=arena.scratch / "ours"))
    python, env = [sys.executable, "-m"], environment()
    address = "/run/pinnace/keeper.sock"
    arena.start([*python, "pinnace.keeper", "--address", address], log="keeper.log", env=env)
    arena.wait_for(address, log="keeper.log")
    daemon_words = [*python, "pinnace.cli.main", "pinnaced", "--config", config]
    arena.start(daemon_words, log="ours.log", env=env)
    arena.wait_for("/run/pinnace/pinnace.sock", log="ours.log")
    arch = Arch.from_machine(os.uname().machine)
    peer = Archive("bookworm", arch.facts.debian).unpack(["containerd", "runc"])
    return _with_image(Daemon(arena, "/run/pinnace/pinnace.sock", peer))


def start_containerd(arena: Arena) -> Daemon:
    """Start Debian's containerd in the arena, with the image imported by Debian's ctr."""
    arch = Arch.from_machine(os.uname().machine)
    peer = Archive("bookworm", arch.facts.debian).unpack(["containerd", "runc"])
    config = arena.scratch / "peer.toml"
    config.write_text(_CONFIG.format(root=arena.scratch / "peer"))
    path = f"{peer}/usr/bin:{peer}/usr/sbin:{os.environ['PATH']}"
    arena.start(
        [peer / "usr/bin/containerd", "--config", config],
        log="peer.log", env={**os.environ, "PATH": path},
    )  # fmt: skip
    arena.wait_for(_ADDRESS, log="peer.log")
    return _with_image(Daemon(arena, _ADDRESS, peer))


def _with_image(daemon: Daemon) -> Daemon:
    archive = daemon.arena.scratch / "busybox.tar"
    archive.write_bytes(busybox())
    done = daemon.theirs("image", "import", str(archive))
    assert done.returncode == 0, done.stderr
    return daemon
