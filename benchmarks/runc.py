"""``runc``: our low-level runtime beside Debian's newest runc and crun, on the same bundle.

* ``run-warm``: ``run`` of true through the keeper, median milliseconds; ``run-cold``: without a keeper. Before each
  nothing was done for 50 ms: what a command of one runtime leaves behind in the kernel would make the next one's
  quicker, whosever it is (docs/benchmarks/README.md).
* ``run-warm-v2``, ``run-cold-v2``: the same with control groups of version 2, on a machine that has both.
* ``run-100``: a hundred of them one after another without a pause (through the keeper), milliseconds.
* ``create-100``: a hundred ``create`` at the same time, milliseconds until the last one is done.
* ``created-memory``: PSS of a created container's process, KiB.
* ``least-memory``: the smallest memory limit, by powers of two, under which a container runs, KiB.

Each runtime is in an arena of its own with its probe; the probes are asked in turn. crun refuses machines that have
both cgroup versions mounted, so none of the three sees more than one.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import runc_probe
from benchmarks.harness import Result, median
from toolkit import console, host
from toolkit.arch import Arch
from toolkit.arena import VERSION_2, Arena
from toolkit.build import bundle
from toolkit.debian import Archive
from toolkit.errors import PinnaceError, UsageError

ROUNDS, WARM_UP = 30, 3
_SUITE = "forky"
_KEEPER = "/run/pinnace/keeper.sock"
_ONE_VERSION = "(! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified)"
_SIDES = ("warm", "cold", "runc", "crun")

Times = dict[str, list[float]]
"""What was measured, by side."""


class Side:
    """One runtime in its arena, and the process that measures it."""

    def __init__(
        self, name: str, arena: Arena, command: Sequence[str], environment: dict[str, str]
    ) -> None:
        self.arena = arena
        self.command = list(command)
        self._bundle = arena.scratch / "bundle"
        _make_root(self._bundle / "rootfs")
        self._plan = {
            "name": name, "command": [*command, "--root", "/run/state"], "bundle": str(self._bundle),
            "environment": {"PATH": os.environ["PATH"], **environment},
        }  # fmt: skip

    def configuration(self) -> str:
        """What this runtime's ``spec`` writes, for true and without a terminal."""
        words = ["env", f"--chdir={self._bundle}", *self.command, "spec"]
        done = self.arena.run(words)
        if done.returncode:
            raise PinnaceError(f"{self.command[0]} spec: {done.stderr.strip()}")
        spec = json.loads((self._bundle / "config.json").read_text())
        spec["process"] |= {"terminal": False, "args": ["/bin/true"]}
        return json.dumps(spec)

    def start(self, configuration: str) -> None:
        """Start the probe, which measures containers of this configuration."""
        (self._bundle / "config.json").write_text(configuration)
        plan = self.arena.scratch / "plan.json"
        plan.write_text(json.dumps(self._plan))
        self._probe = subprocess.Popen(
            self.arena.command([sys.executable, Path(runc_probe.__file__), plan]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self, what: str) -> float:
        """One measurement; raises :class:`PinnaceError` with what the probe says when it failed."""
        assert self._probe.stdin
        assert self._probe.stdout
        assert self._probe.stderr
        self._probe.stdin.write(what + "\n")
        self._probe.stdin.flush()
        answer = self._probe.stdout.readline()
        if not answer:
            reason = (self._probe.stderr.read().strip().splitlines() or ["no message"])[-1]
            raise PinnaceError(f"measuring {what} failed: {reason}")
        return float(answer)


def run() -> list[Result]:
    """Measure; raises :class:`PinnaceError` when a runtime fails."""
    host.need_root("measuring container runtimes")
    arch = Arch.from_machine(os.uname().machine)
    if arch not in (Arch.AMD64, Arch.ARM64):
        raise UsageError("Debian has the peers for amd64 and arm64; measure on one of these")
    archive = Archive(_SUITE, arch.facts.debian)
    with contextlib.ExitStack() as stack:
        sides = _started(stack, archive, _ONE_VERSION)
        single = {"": _single(sides)}
        peers = {name: f"{name} {_version(sides[name])}" for name in ("runc", "crun")}
        with console.step("measure: a hundred runs, a hundred creations, memory"):
            others = {
                what: _in_turn({name: sides[name] for name in _SIDES if name != "cold"}, what, 1, 0)
                for what in ("run-100", "create-100", "created-memory", "least-memory")
            }
        if not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):  # else it was version 2 above
            single["-v2"] = _single(_started(stack, archive, VERSION_2))
    return _results(single, others, peers)


def _started(stack: contextlib.ExitStack, archive: Archive, version: str) -> dict[str, Side]:
    """The runtimes, each with its probe; ``version`` is a command that leaves one version of control groups."""
    with console.step("runtimes"):
        sides = _sides(stack, archive, version)
        configuration = sides["runc"].configuration()
        for side in sides.values():
            side.start(configuration)
    return sides


def _single(sides: dict[str, Side]) -> Times:
    with console.step(f"measure: {ROUNDS} runs of each in turn"):
        return _in_turn(sides, "run", ROUNDS, WARM_UP)


def _sides(stack: contextlib.ExitStack, archive: Archive, version: str) -> dict[str, Side]:
    sides = {}
    for name in ("warm", "cold"):
        arena = stack.enter_context(Arena(version))
        release = bundle.unpack_here(arena.scratch / "release")
        keeper = _KEEPER if name == "warm" else ""
        if keeper:
            words: list[str | Path] = [release / "bin/pinnace-keeper", "--address", keeper]
            arena.start(words, log="keeper.log")
            arena.wait_for(keeper, log="keeper.log")
        command = [str(release / "bin/runc")]
        sides[name] = Side(name, arena, command, {"PINNACE_KEEPER": keeper})
    for name, program in (("runc", "usr/sbin/runc"), ("crun", "usr/bin/crun")):
        root = archive.unpack([name], dependencies=True)
        # With that release's libraries in place of the machine's: older programs run with newer ones.
        library = next(root.glob("usr/lib/*-linux-gnu"))
        setup = f"{version} && mount --bind '{library}' /usr/lib/{library.name}"
        arena = stack.enter_context(Arena(setup))
        extra = ["--cgroup-manager", "cgroupfs"] if name == "crun" else []
        sides[name] = Side(name, arena, [str(root / program), *extra], {})
    return sides


def _make_root(place: Path) -> None:
    """A root directory whose program is busybox's true."""
    machine = Arch.from_machine(os.uname().machine)
    tree = Archive("trixie", machine.facts.debian).unpack(["busybox-static"])
    (place / "bin").mkdir(parents=True)
    shutil.copy(next(tree.rglob("bin/busybox")), place / "bin/busybox")
    (place / "bin/true").symlink_to("busybox")
    for name in ("proc", "sys", "dev"):
        (place / name).mkdir()


def _version(side: Side) -> str:
    shown = side.arena.run([*side.command, "--version"]).stdout.split()
    return shown[2] if len(shown) > 2 else "of Debian"


def _in_turn(sides: dict[str, Side], what: str, rounds: int, warm_up: int) -> Times:
    measured: Times = {name: [] for name in sides}
    for number in range(warm_up + rounds):
        names = list(sides) if number % 2 == 0 else list(reversed(sides))
        for name in names:
            value = sides[name].ask(what)
            if number >= warm_up:
                measured[name].append(value)
    return measured


def _results(
    single: dict[str, Times], others: dict[str, Times], peers: dict[str, str]
) -> list[Result]:
    found = []
    for name, shown in peers.items():
        for suffix, times in single.items():
            for side in ("warm", "cold"):
                ours, theirs = median(times[side]), median(times[name])
                found.append(Result(f"run-{side}{suffix}", shown, ours, theirs, "ms"))
        for what, values in others.items():
            unit = "KiB" if what.endswith("memory") else "ms"
            found.append(Result(what, shown, median(values["warm"]), median(values[name]), unit))
    return found
