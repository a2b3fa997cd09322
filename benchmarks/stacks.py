"""Two stacks in one arena: ours from a release, and Debian's containerd with runc, each with its own ctr."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from toolkit import console, host
from toolkit.arch import Arch
from toolkit.arena import Arena
from toolkit.build import bundle
from toolkit.debian import Archive
from toolkit.errors import PinnaceError, UsageError


@dataclass(frozen=True, slots=True)
class Stack:
    """One side: the command line of its ctr, and its daemons' process ids inside the arena."""

    ctr: list[str]
    pids: list[int]


@dataclass(frozen=True, slots=True)
class Pair:
    """Both, running: by the names ``ours`` and ``theirs``, and what the peer is called."""

    arena: Arena
    stacks: dict[str, Stack]
    peer: str


# Debian 12's, because its programs run on every Debian and Ubuntu since. PINNACE_PEER_SUITE=sid is containerd 2.
_PEER_SUITE = os.environ.get("PINNACE_PEER_SUITE", "bookworm")
_RUNC_SUITE = "bookworm"
_OURS_CONFIG = """\
version = 3
root = "{root}"
state = "/run/pinnace"
[grpc]
address = "/run/pinnace/pinnace.sock"
[plugins."io.pinnace.keeper"]
address = "/run/pinnace/keeper.sock"
"""
PEER_CONFIG = """\
version = 2
root = "{root}"
state = "/run/peer"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"]
[grpc]
address = "/run/peer/peer.sock"
[ttrpc]
address = "/run/peer/peer.sock.ttrpc"
"""


@contextmanager
def pair() -> Iterator[Pair]:
    """Both stacks started in an arena of their own; raises :class:`PinnaceError` when one does not start."""
    host.need_root("measuring container runtimes")
    arch = machine()
    with Arena() as arena:
        with console.step("stacks"):
            release = bundle.unpack_here(arena.scratch / "release")
            peer = Archive(_PEER_SUITE, arch.facts.debian).unpack(["containerd"])
            runc = Archive(_RUNC_SUITE, arch.facts.debian).unpack(["runc"])
        with console.step("start both daemons"):
            stacks = {"ours": _start_ours(arena, release), "theirs": _start_peer(arena, peer, runc)}
        yield Pair(arena, stacks, _peer_version(peer, runc))


def machine() -> Arch:
    """This machine's architecture; raises :class:`UsageError` where the peer does not exist."""
    arch = Arch.from_machine(os.uname().machine)
    if arch not in (Arch.AMD64, Arch.ARM64):
        raise UsageError("Debian has the peer for amd64 and arm64; measure on one of these")
    return arch


def _start_ours(arena: Arena, release: Path) -> Stack:
    config = arena.scratch / "ours.toml"
    config.write_text(_OURS_CONFIG.format(root=arena.scratch / "ours"))
    keeper: list[str | Path] = [
        release / "bin/pinnace-keeper",
        "--address",
        "/run/pinnace/keeper.sock",
    ]
    arena.start(keeper, log="keeper.log")
    arena.wait_for("/run/pinnace/keeper.sock", log="keeper.log")
    arena.start([release / "bin/pinnaced", "--config", config], log="ours.log")
    arena.wait_for("/run/pinnace/pinnace.sock", log="ours.log")
    command = [str(release / "bin/ctr"), "--address", "/run/pinnace/pinnace.sock"]
    pids = _pids(arena, "pinnace-keeper") + _pids(arena, "pinnaced")
    return Stack([*command, "--namespace", arena.name], pids)


def _start_peer(arena: Arena, root: Path, runc: Path) -> Stack:
    config = arena.scratch / "peer.toml"
    config.write_text(PEER_CONFIG.format(root=arena.scratch / "peer"))
    path = f"{root}/usr/bin:{runc}/usr/sbin:{os.environ['PATH']}"
    arena.start(
        [root / "usr/bin/containerd", "--config", config],
        log="peer.log", env={**os.environ, "PATH": path},
    )  # fmt: skip
    arena.wait_for("/run/peer/peer.sock", log="peer.log")
    command = [str(root / "usr/bin/ctr"), "--address", "/run/peer/peer.sock"]
    return Stack([*command, "--namespace", arena.name], _pids(arena, "bin/containerd"))


def _pids(arena: Arena, program: str) -> list[int]:
    """Process ids, inside the arena, of what was started from ``program``; without what it forked itself."""
    script = (
        "import os, sys\n"
        "found = {}\n"
        "for pid in filter(str.isdigit, os.listdir('/proc')):\n"
        "    words = open(f'/proc/{pid}/cmdline').read().split('\\0')[:3]\n"
        "    if any(word.endswith(sys.argv[1]) for word in words) and int(pid) != os.getpid():\n"
        "        found[pid] = open(f'/proc/{pid}/stat').read().rpartition(')')[2].split()[1]\n"
        "print(*(pid for pid, parent in found.items() if parent not in found), sep='\\n')\n"
    )
    done = need(arena, [sys.executable, "-c", script, program])
    pids = [int(line) for line in done.split() if line]
    if not pids:
        raise PinnaceError(f"{program} is not running in the arena")
    return pids


def need(arena: Arena, words: list[str]) -> str:
    """Run a command that must succeed inside; what it printed."""
    done = arena.run(words)
    if done.returncode:
        raise PinnaceError(f"{' '.join(words[:6])}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def _peer_version(root: Path, runc_root: Path) -> str:
    words = [str(root / "usr/bin/containerd"), "--version"]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    runc = subprocess.run(
        [str(runc_root / "usr/sbin/runc"), "--version"], capture_output=True, text=True, check=True
    ).stdout.split()
    return f"containerd {shown[2]} + runc {runc[2]}"
