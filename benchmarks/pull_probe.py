"""What runs inside the arena: images in and out of two stacks in turn. Prints one line of JSON.

Standard library only; ``pull_probe.py PLAN`` where the plan (a JSON file) names for each stack the command line
of its ctr and its daemon's process ids, and the images with the operations to measure.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")
_SAMPLE_SECONDS = 0.05


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


class Memory:
    """Watches what processes and all that they start take, and remembers the most."""

    def __init__(self, pids: list[int]) -> None:
        self.peak = 0.0
        self._pids = pids
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> float:
        """The peak in MiB, with memory that several share counted once (proc(5), Pss)."""
        self._over.set()
        self._thread.join()
        return self.peak / 1024

    def _watch(self) -> None:
        while not self._over.wait(_SAMPLE_SECONDS):
            self.peak = max(self.peak, sum(map(share, family(self._pids))))


def family(pids: list[int]) -> list[int]:
    """The processes and their descendants."""
    found = []
    todo = list(pids)
    while todo:
        pid = todo.pop()
        found.append(pid)
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                    todo += map(int, file.read().split())
        except OSError:
            continue  # it ended
    return found


def share(pid: int) -> int:
    """KiB of a process, shared pages divided among those who have them; 0 once it has ended."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("Pss:")), 0)
    except OSError:
        return 0


def measure(stack: dict[str, Any], words: list[str]) -> dict[str, float]:
    """Run one command of the stack's ctr: wall and CPU seconds, peak memory and bytes written."""
    os.sync()
    seconds, written = used(stack["pids"])
    started = time.perf_counter()
    process = subprocess.Popen(
        [*stack["ctr"], *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    memory = Memory([*stack["pids"], process.pid])
    assert process.stderr is not None
    complaint = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    most = memory.stop()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)}: {complaint.decode(errors='replace').strip()}")
    os.sync()
    after, written_after = used(stack["pids"])
    return {
        "wall": wall,
        "cpu": usage.ru_utime + usage.ru_stime + after - seconds,
        "memory": most,
        "written": (written_after - written + usage.ru_oublock * 512) / (1 << 20),
    }


def must(stack: dict[str, Any], words: list[str]) -> None:
    done = subprocess.run([*stack["ctr"], *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stderr.strip()}")


def shape(
    stack: dict[str, Any], image: str, copy: str, plan: dict[str, Any]
) -> dict[str, dict[str, float]]:
    """Everything with one image, from nothing back to nothing; ``copy`` is a name in a registry that is emptied."""
    work = plan["work"]
    archive = os.path.join(work, "archive.tar")
    found = {"pull": measure(stack, ["images", "pull", "--plain-http", image])}
    found["export"] = measure(stack, ["images", "export", archive, image])
    shutil.rmtree(plan["empty_data"], ignore_errors=True)
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
                for operation, values in shape(stacks[name], image, copy, plan).items():
                    measured.append({"stack": name, "image": image, "operation": operation, **values})  # fmt: skip
    print(json.dumps(measured))


if __name__ == "__main__":
    main(sys.argv[1])
