"""``images``: images in and out, ours beside Debian's containerd, each through its own ctr.

Three images of 300 MB each, which are hard for different parts: ``large`` (one layer), ``many-layers`` (20 of
15 MB) and ``small-files`` (30,000 files). ``pull-*`` is download and unpack from a registry on this machine;
``push``, ``export`` and ``import`` are of the one with many layers. Each has four rows: wall time, CPU time of
client and daemon, peak memory of both together (PSS: what is shared counts once), and what was written to disk.
"""

from __future__ import annotations

import json
import random
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks import pull_probe, stacks
from benchmarks.harness import Result, median
from toolkit import console, oci
from toolkit.errors import PinnaceError
from toolkit.lab.client import RegistryClient
from toolkit.lab.server import RegistryServer
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
                plan = {
                    "stacks": {name: asdict(stack) for name, stack in pair.stacks.items()},
                    "images": names, "empty": empty.host, "empty_data": str(empty.data / "docker"), "rounds": ROUNDS, "work": str(scratch),
                }  # fmt: skip
                path = scratch / "plan.json"
                path.write_text(json.dumps(plan))
                done = pair.arena.run(
                    [sys.executable, Path(pull_probe.__file__), path], timeout=3600
                )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise PinnaceError(f"the measurement failed: {reason}")
    return _results(json.loads(done.stdout), pair.peer)


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


def _results(measured: list[dict[str, object]], peer: str) -> list[Result]:
    rows = []
    for name, image, operation in _rows(measured):
        for value, unit in _UNITS.items():
            ours, theirs = (
                median([
                    float(str(found[value])) for found in measured
                    if (found["stack"], found["image"], found["operation"]) == (stack, image, operation)
                ])
                for stack in ("ours", "theirs")
            )  # fmt: skip
            rows.append(Result(f"{name}{_LABELS[value]}", peer, ours, theirs, unit))
    return rows


def _rows(measured: list[dict[str, object]]) -> list[tuple[str, object, str]]:
    images = list(dict.fromkeys(found["image"] for found in measured))
    short = {image: str(image).rpartition("/")[2].partition(":")[0] for image in images}
    rows = [(f"pull-{short[image]}", image, "pull") for image in images]
    (middle,) = [image for image in images if short[image] == "many-layers"]
    return [*rows, *((name, middle, name) for name in ("push", "export", "import"))]
