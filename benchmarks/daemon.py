"""``daemon``: our stack beside Debian's containerd and runc, through each one's own ctr.

* ``ctr-run``: ``ctr run --rm IMAGE true``, median milliseconds.
* ``idle-daemon``: memory (PSS) of all daemon processes with nothing running, MiB.
* ``idle-container``: memory each of 20 idle containers adds (shim and runtime, without the container's own
  process), MiB.

Both run in one arena on this machine, which must be able to run Debian's packages for its architecture.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import probe
from benchmarks.harness import Result, median
from toolkit import console, host, oci
from toolkit.arch import Arch
from toolkit.arena import Arena
from toolkit.build import bundle
from toolkit.debian import Archive
from toolkit.errors import PinnaceError, UsageError
from toolkit.lab import recipes


@dataclass(frozen=True, slots=True)
class Stack:
    """One side: the command line of its ctr, and its daemons' process ids inside the arena."""

    ctr: list[str]
    pids: list[int]


IMAGE = "docker.io/library/bench:latest"
ROUNDS, WARM_UP, CONTAINERS = 30, 5, 20
_SETTLE_SECONDS = 3.0
# Debian 12's, because its programs run on every Debian and Ubuntu since.
_PEER_SUITE = "bookworm"
_OURS_CONFIG = """\
version = 3
root = "{root}"
state = "/run/pinnace"
[grpc]
address = "/run/pinnace/pinnace.sock"
[plugins."io.pinnace.keeper"]
address = "/run/pinnace/keeper.sock"
"""
_PEER_CONFIG = """\
version = 2
root = "{root}"
state = "/run/peer"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "/run/peer/peer.sock"
[ttrpc]
address = "/run/peer/peer.sock.ttrpc"
"""


def run() -> list[Result]:
    """Measure; raises :class:`PinnaceError` when a stack does not start or a command fails."""
    host.need_root("measuring container runtimes")
    arch = Arch.from_machine(os.uname().machine)
    if arch not in (Arch.AMD64, Arch.ARM64):
        raise UsageError("Debian has the peer for amd64 and arm64; measure on one of these")
    with Arena() as arena:
        with console.step("stacks"):
            release = bundle.unpack_here(arena.scratch / "release")
            peer = Archive(_PEER_SUITE, arch.facts.debian).unpack(["containerd", "runc"])
            image = arena.scratch / "image.tar"
            image.write_bytes(_image(arch))
        with console.step("start both daemons"):
            ours = _start_ours(arena, release)
            theirs = _start_peer(arena, peer)
            for stack in (ours, theirs):
                _need(arena, [*stack.ctr, "image", "import", str(image)])
        version = _peer_version(peer)
        with console.step(f"measure: {ROUNDS} runs each, then {CONTAINERS} idle containers each"):
            measured = _measure(arena, {"ours": ours, "theirs": theirs})
    return _results(measured, version)


def _image(arch: Arch) -> bytes:
    packages = Archive(recipes.SUITE, arch.facts.debian).download(["busybox-static"])
    tree = recipes.busybox(packages)
    config = {"Env": [recipes.PATH], "Cmd": ["sh"]}
    made = oci.image(arch.facts.oci, [oci.layer(tree.tar())], config, created=tree.mtime)
    return oci.layout([made], IMAGE)


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


def _start_peer(arena: Arena, root: Path) -> Stack:
    config = arena.scratch / "peer.toml"
    config.write_text(_PEER_CONFIG.format(root=arena.scratch / "peer"))
    path = f"{root}/usr/bin:{root}/usr/sbin:{os.environ['PATH']}"
    arena.start(
        [root / "usr/bin/containerd", "--config", config],
        log="peer.log", env={**os.environ, "PATH": path},
    )  # fmt: skip
    arena.wait_for("/run/peer/peer.sock", log="peer.log")
    command = [str(root / "usr/bin/ctr"), "--address", "/run/peer/peer.sock"]
    return Stack([*command, "--namespace", arena.name], _pids(arena, "bin/containerd"))


def _pids(arena: Arena, program: str) -> list[int]:
    """Process ids, inside the arena, of what was started from ``program``."""
    script = (
        "import os, sys\n"
        "for pid in filter(str.isdigit, os.listdir('/proc')):\n"
        "    words = open(f'/proc/{pid}/cmdline').read().split('\\0')[:3]\n"
        "    if any(word.endswith(sys.argv[1]) for word in words) and int(pid) != os.getpid():\n"
        "        print(pid)\n"
    )
    done = _need(arena, [sys.executable, "-c", script, program])
    pids = [int(line) for line in done.split() if line]
    if not pids:
        raise PinnaceError(f"{program} is not running in the arena")
    return pids


def _need(arena: Arena, words: list[str]) -> str:
    done = arena.run(words)
    if done.returncode:
        raise PinnaceError(f"{' '.join(words[:6])}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def _measure(arena: Arena, stacks: dict[str, Stack]) -> dict[str, dict[str, object]]:
    plan = {
        "stacks": {name: asdict(stack) for name, stack in stacks.items()}, "image": IMAGE, "rounds": ROUNDS, "warm_up": WARM_UP,
        "containers": CONTAINERS, "settle": _SETTLE_SECONDS,
    }  # fmt: skip
    path = arena.scratch / "plan.json"
    path.write_text(json.dumps(plan))
    done = arena.run([sys.executable, Path(probe.__file__), path], timeout=600)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise PinnaceError(f"the measurement failed: {reason}")
    measured: dict[str, dict[str, object]] = json.loads(done.stdout)
    return measured


def _peer_version(root: Path) -> str:
    words = [str(root / "usr/bin/containerd"), "--version"]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    runc = subprocess.run(
        [str(root / "usr/sbin/runc"), "--version"], capture_output=True, text=True, check=True
    ).stdout.split()
    return f"containerd {shown[2]} + runc {runc[2]}"


def _results(measured: dict[str, dict[str, object]], peer: str) -> list[Result]:
    runs: dict[str, list[float]] = measured["runs"]  # type: ignore[assignment]
    ours: dict[str, float] = measured["ours"]  # type: ignore[assignment]
    theirs: dict[str, float] = measured["theirs"]  # type: ignore[assignment]
    return [
        Result("ctr-run", peer, median(runs["ours"]), median(runs["theirs"]), "ms"),
        Result("idle-daemon", peer, ours["daemon"], theirs["daemon"], "MiB"),
        Result("idle-container", peer, ours["container"], theirs["container"], "MiB"),
    ]
