"""What runs inside the arena: images in and out of two stacks in turn. Prints one line of JSON.

Standard library only; ``pull_probe.py PLAN`` where the plan (a JSON file) names for each stack the command line
of its ctr and its daemon's process ids, and the images with the operations to measure.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")


def used(pids: list[int]) -> tuple[float, int]:
    """CPU seconds and bytes sent to disk so far by processes together, those they waited for included."""
    seconds, written = 0.0, 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as file:
            fields = file.read().rpartition(")")[2].split()
        seconds += sum(int(fields[index]) for index in (11, 12, 13, 14)) / _TICKS
        with open(f"/proc/{pid}/io", encoding="ascii") as file:
            numbers = dict(line.split(": ") for line in file.read().splitlines())
        written += int(numbers["write_bytes"])
    return seconds, written


def forget_peaks(pids: list[int]) -> None:
    for pid in pids:
        with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as file:
            file.write("5")  # proc(5): resets the peak resident set


def peak(pids: list[int]) -> float:
    """The highest resident set of each process since, together, MiB."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            total += sum(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
    return total / 1024


def measure(stack: dict[str, Any], words: list[str]) -> dict[str, float]:
    """Run one command of the stack's ctr: wall and CPU seconds, peak memory and bytes written."""
    os.sync()
    forget_peaks(stack["pids"])
    seconds, written = used(stack["pids"])
    started = time.perf_counter()
    process = subprocess.Popen(
        [*stack["ctr"], *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    complaint = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)}: {complaint.decode(errors='replace').strip()}")
    os.sync()
    after, written_after = used(stack["pids"])
    return {
        "wall": wall,
        "cpu": usage.ru_utime + usage.ru_stime + after - seconds,
        "memory": usage.ru_maxrss / 1024 + peak(stack["pids"]),
        "written": (written_after - written + usage.ru_oublock * 512) / (1 << 20),
    }


def must(stack: dict[str, Any], words: list[str]) -> None:
    done = subprocess.run([*stack["ctr"], *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stderr.strip()}")


def shape(stack: dict[str, Any], image: str, copy: str, work: str) -> dict[str, dict[str, float]]:
    """Everything with one image, from nothing back to nothing; ``copy`` is a name in an empty repository."""
    archive = os.path.join(work, "archive.tar")
    found = {"pull": measure(stack, ["images", "pull", "--plain-http", image])}
    found["export"] = measure(stack, ["images", "export", archive, image])
    found["push"] = measure(stack, ["images", "push", "--plain-http", copy, image])
    must(stack, ["images", "rm", "--sync", image])
    found["import"] = measure(stack, ["images", "import", archive])
    must(stack, ["images", "rm", "--sync", image])
    os.unlink(archive)
    return found


def main(path: str) -> None:
    with open(path, encoding="utf-8") as file:
        plan = json.load(file)
    stacks = plan["stacks"]
    measured = []
    for number in range(plan["rounds"]):
        for image in plan["images"]:
            names = list(stacks) if number % 2 == 0 else list(reversed(stacks))
            for name in names:
                copy = f"{plan['empty']}/{name}{number}/{image.rpartition('/')[2]}"
                for operation, values in shape(stacks[name], image, copy, plan["work"]).items():
                    measured.append({"stack": name, "image": image, "operation": operation, **values})  # fmt: skip
    print(json.dumps(measured))


if __name__ == "__main__":
    main(sys.argv[1])
