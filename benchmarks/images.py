"""``images``: images in and out, ours beside Debian's containerd (each through its own ctr) and skopeo.

Three images of 300 MB each, which are hard for different parts: ``large`` (one layer), ``many-layers`` (20 of
15 MB) and ``small-files`` (30,000 files). ``pull-*`` is download and unpack from a registry on this machine;
``push``, ``export`` and ``import`` are of the one with many layers. ``skopeo-*`` is what skopeo does of that, which
unpacks nothing: a registry to an OCI layout and back, a layout to an archive and back. Each has four rows: wall time,
CPU time of client and daemon, peak memory of both together (PSS: what is shared counts once), and what was
written to disk.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

from benchmarks import pull_probe, stacks
from benchmarks.harness import Result, median
from toolkit import console, debian_program, oci
from toolkit.errors import PinnaceError
from toolkit.lab.client import RegistryClient
from toolkit.lab.server import SUITE, RegistryServer
from toolkit.tree import Tree

ROUNDS = 3
_MEGABYTE = 1_000_000
_UNITS = {"wall": "s", "cpu": "s", "memory": "MiB", "written": "MiB"}
_LABELS = {"wall": "", "cpu": " cpu", "memory": " memory", "written": " written"}


def run() -> list[Result]:
    """Measure; raises :class:`PinnaceError` when a stack does not start or a command fails."""
    with stacks.pair() as pair:
        scratch = pair.arena.scratch
        with (
            RegistryServer(scratch / "registry") as registry,
            RegistryServer(scratch / "empty") as empty,
        ):
            with console.step("images of 300 MB each"):
                names = _fill(registry)
            with console.step(f"measure: {ROUNDS} rounds") as step:
                step.detail = f"{len(names)} images, both stacks in turn"
                contests, peers = _contests(pair)
                plan = {
                    "contests": contests, "images": names, "rounds": ROUNDS, "work": str(scratch),
                    "empty": empty.host, "empty_data": str(empty.data / "docker"),
                }  # fmt: skip
                path = scratch / "plan.json"
                path.write_text(json.dumps(plan))
                done = pair.arena.run(
                    [sys.executable, Path(pull_probe.__file__), path], timeout=3600
                )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise PinnaceError(f"the measurement failed: {reason}")
    return _results(json.loads(done.stdout), peers)


def _contests(pair: stacks.Pair) -> tuple[dict[str, dict[str, pull_probe.Side]], dict[str, str]]:
    """Who is measured beside whom, and the peers' names. Our skopeo is a fork of the keeper, theirs a program."""
    ours, theirs = pair.stacks["ours"], pair.stacks["theirs"]
    program = debian_program.command(SUITE, "skopeo", "usr/bin/skopeo")
    shown = subprocess.run([*program, "--version"], capture_output=True, text=True, check=True)
    contests: dict[str, dict[str, pull_probe.Side]] = {
        "ctr": {
            "ours": {"command": ours.ctr, "pids": ours.pids},
            "theirs": {"command": theirs.ctr, "pids": theirs.pids},
        },
        "skopeo": {
            "ours": {"command": [str(Path(ours.ctr[0]).with_name("skopeo"))], "pids": ours.pids},
            "theirs": {"command": [*program], "pids": []},
        },
    }
    return contests, {"ctr": pair.peer, "skopeo": f"skopeo {shown.stdout.split()[2]}"}


def _fill(registry: RegistryServer) -> list[str]:
    made = {
        "large": [_layer(0, [300 * _MEGABYTE])],
        "many-layers": [_layer(number, [15 * _MEGABYTE]) for number in range(20)],
        "small-files": [_layer(0, [10_000] * 30_000)],
    }
    with RegistryClient(registry.url) as client:
        for name, layers in made.items():
            image = oci.image(stacks.machine().facts.oci, layers, {"Cmd": ["true"]}, created=0)
            client.push_image(name, image)
            client.push_manifest(name, "1", image.manifest)
    return [f"{registry.host}/{name}:1" for name in made]


def _layer(seed: int, sizes: list[int]) -> oci.Layer:
    """Files that compress to about half, as programs do."""
    chance = random.Random(seed)  # noqa: S311 - the same bytes each time
    tree = Tree()
    for number, size in enumerate(sizes):
        noise = chance.randbytes(size // 2 + 64)
        content = b"".join(noise[at : at + 32] + bytes(32) for at in range(0, len(noise) - 64, 32))[
            :size
        ]
        tree.file(f"layer{seed}/d{number // 100}/f{number}", content)
    return oci.layer(tree.tar())


def _results(measured: list[dict[str, object]], peers: dict[str, str]) -> list[Result]:
    rows = []
    for name, row in _rows(measured):
        for value, unit in _UNITS.items():
            ours, theirs = (
                median([float(str(found[value])) for found in measured if _is(found, row, side)])
                for side in ("ours", "theirs")
            )
            rows.append(Result(f"{name}{_LABELS[value]}", peers[row[0]], ours, theirs, unit))
    return rows


Row = tuple[str, object, str]
"""Contest, image and operation."""


def _is(found: dict[str, object], row: Row, side: str) -> bool:
    return (found["contest"], found["image"], found["operation"], found["side"]) == (*row, side)


def _rows(measured: list[dict[str, object]]) -> list[tuple[str, Row]]:
    images = list(dict.fromkeys(found["image"] for found in measured))
    rows = []
    for contest in pull_probe.CONTESTS:
        prefix = "" if contest == "ctr" else f"{contest}-"
        rows += [(f"{prefix}pull-{image}", (contest, image, "pull")) for image in images]
        rows += [(f"{prefix}{name}", (contest, "many-layers", name)) for name in ("push", "export", "import")]  # fmt: skip
    return rows
