"""What runs inside the arena: two stacks side by side, measured. Prints one line of JSON.

Standard library only; ``probe.py PLAN`` where the plan (a JSON file) names for each stack the command line
of its ctr, its daemon's process ids and the image.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any


def run(words: list[str]) -> None:
    """Run a command that must succeed."""
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: exit {done.returncode}: {done.stderr.strip()}")


def milliseconds(words: list[str]) -> float:
    started = time.perf_counter()
    run(words)
    return (time.perf_counter() - started) * 1000


def times(
    stacks: dict[str, Any], words: list[str], rounds: int, warm_up: int
) -> dict[str, list[float]]:
    """A ctr command of both in turn, ``{}`` in it a name for each; milliseconds of each run that counts."""
    measured: dict[str, list[float]] = {name: [] for name in stacks}
    for number in range(warm_up + rounds):
        names = list(stacks) if number % 2 == 0 else list(reversed(stacks))
        for name in names:
            named = [word.format(f"r{number}-{name}") for word in words]
            value = milliseconds([*stacks[name]["ctr"], *named])
            if number >= warm_up:
                measured[name].append(value)
    return measured


def starts(
    stacks: dict[str, Any], program: str, rounds: int, seconds: float, clients: int
) -> dict[str, list[float]]:
    """Containers that many clients start each second, of both in turn."""
    measured: dict[str, list[float]] = {name: [] for name in stacks}
    for number in range(rounds):
        for name in list(stacks) if number % 2 == 0 else list(reversed(stacks)):
            words = stacks[name]["ctr"]
            address, namespace = (
                words[words.index(flag) + 1] for flag in ("--address", "--namespace")
            )
            command = [sys.executable, program, address, namespace, str(seconds), str(clients)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"starts of {name}: {done.stderr.strip()[-500:]}")
            measured[name].append(float(done.stdout))
    return measured


def pss(pids: set[int]) -> float:
    """Proportional set size of processes together, in MiB."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total / 1024


def processes() -> dict[int, int]:
    """Every process of this namespace with its parent, without those inside containers."""
    found = {}
    here = os.readlink("/proc/self/ns/pid")
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            if os.readlink(f"/proc/{entry}/ns/pid") == here:
                with open(f"/proc/{entry}/stat", encoding="latin-1") as file:
                    found[int(entry)] = int(file.read().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _family(pids: list[int]) -> set[int]:
    """These processes and what they keep ready: their children."""
    return set(pids) | {pid for pid, parent in processes().items() if parent in pids}


def idle(stack: dict[str, Any], image: str, count: int, settle: float) -> tuple[float, float]:
    """PSS of the daemon's processes alone, and what each of ``count`` idle containers adds to it
    (shim and runtime; the container's own process is not counted)."""
    time.sleep(settle)
    before = set(processes())
    daemon = pss(_family(stack["pids"]))
    for number in range(count):
        words = [*stack["ctr"], "run", "-d", "--null-io", image, f"idle{number}", "sleep", "3600"]
        run(words)
    time.sleep(settle)
    added = set(processes()) - before
    each = (pss(_family(stack["pids"]) | added) - daemon) / count
    for number in range(count):
        run([*stack["ctr"], "task", "kill", "-s", "9", f"idle{number}"])
    time.sleep(1)
    for number in range(count):
        # The task's exit status (137) is what `task rm` exits with.
        subprocess.run([*stack["ctr"], "task", "rm", "-f", f"idle{number}"], capture_output=True, check=False)  # fmt: skip
        run([*stack["ctr"], "container", "rm", f"idle{number}"])
    return daemon, each


def main(path: str) -> None:
    with open(path, encoding="utf-8") as file:
        plan = json.load(file)
    stacks = plan["stacks"]
    rounds, warm_up = plan["rounds"], plan["warm_up"]
    commands = {"run": ["run", "--rm", plan["image"], "{}", "true"], "version": ["version"], "list": ["containers", "ls"]}  # fmt: skip
    measured: dict[str, Any] = {
        name: times(stacks, words, rounds, warm_up) for name, words in commands.items()
    }
    measured["starts"] = starts(stacks, **plan["starts"])
    for name, stack in stacks.items():
        daemon, each = idle(stack, plan["image"], plan["containers"], plan["settle"])
        measured[name] = {"daemon": daemon, "container": each}
    print(json.dumps(measured))


if __name__ == "__main__":
    main(sys.argv[1])
