"""``daemon``: our stack beside Debian's containerd and runc, through each one's own ctr.

* ``ctr-run``: ``ctr run --rm IMAGE true``, median milliseconds.
* ``ctr-version``, ``ctr-list``: ``ctr version`` and ``ctr containers ls``, the same.
* ``api-starts-per-second``: containers started, waited for and deleted by 8 clients of the API; more is better.
* ``idle-daemon``: memory (PSS) of all daemon processes with nothing running, MiB.
* ``idle-container``: memory each of 20 idle containers adds (shim and runtime, without the container's own
  process), MiB.

Both run in one arena on this machine, which must be able to run Debian's packages for its architecture.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import probe, stacks
from benchmarks.harness import Result, median
from toolkit import console, oci
from toolkit.arch import Arch
from toolkit.debian import Archive
from toolkit.errors import PinnaceError
from toolkit.lab import recipes
from toolkit.paths import RUNTIME

IMAGE = "docker.io/library/bench:latest"
ROUNDS, WARM_UP, CONTAINERS = 30, 5, 20
_SETTLE_SECONDS = 8.0  # threads and connections of the last calls go after 5
_STARTS = {
    "program": str(Path(__file__).with_name("starts.py")),
    "rounds": 4,
    "seconds": 4.0,
    "clients": 8,
}


def run() -> list[Result]:
    """Measure; raises :class:`PinnaceError` when a stack does not start or a command fails."""
    with stacks.pair() as pair:
        image = pair.arena.scratch / "image.tar"
        image.write_bytes(_image(stacks.machine()))
        for stack in pair.stacks.values():
            stacks.need(pair.arena, [*stack.ctr, "image", "import", str(image)])
        with console.step(f"measure: {ROUNDS} runs each, then {CONTAINERS} idle containers each"):
            measured = _measure(pair)
    return _results(measured, pair.peer)


def _image(arch: Arch) -> bytes:
    packages = Archive(recipes.SUITE, arch.facts.debian).download(["busybox-static"])
    tree = recipes.busybox(packages)
    config = {"Env": [recipes.PATH], "Cmd": ["sh"]}
    made = oci.image(arch.facts.oci, [oci.layer(tree.tar())], config, created=tree.mtime)
    return oci.layout([made], IMAGE)


def _measure(pair: stacks.Pair) -> dict[str, dict[str, object]]:
    plan = {
        "stacks": {name: asdict(stack) for name, stack in pair.stacks.items()}, "image": IMAGE, "rounds": ROUNDS, "warm_up": WARM_UP,
        "containers": CONTAINERS, "settle": _SETTLE_SECONDS, "starts": _STARTS,
    }  # fmt: skip
    path = pair.arena.scratch / "plan.json"
    path.write_text(json.dumps(plan))
    environment = {**os.environ, "PYTHONPATH": str(RUNTIME)}
    words: list[str | Path] = [sys.executable, Path(probe.__file__), path]
    done = pair.arena.run(words, timeout=600, env=environment)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise PinnaceError(f"the measurement failed: {reason}")
    measured: dict[str, dict[str, object]] = json.loads(done.stdout)
    return measured


def _results(measured: dict[str, dict[str, object]], peer: str) -> list[Result]:
    ours: dict[str, float] = measured["ours"]  # type: ignore[assignment]
    theirs: dict[str, float] = measured["theirs"]  # type: ignore[assignment]
    rows = [
        Result(f"ctr-{name}", peer, *_medians(measured[name]), "ms")
        for name in ("run", "version", "list")
    ]
    return [
        *rows,
        Result("api-starts-per-second", peer, *_medians(measured["starts"]), "/s"),
        Result("idle-daemon", peer, ours["daemon"], theirs["daemon"], "MiB"),
        Result("idle-container", peer, ours["container"], theirs["container"], "MiB"),
    ]


def _medians(measured: dict[str, Any]) -> tuple[float, float]:
    return median(measured["ours"]), median(measured["theirs"])
