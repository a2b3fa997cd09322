"""What runs inside the arena: images in and out of two stacks in turn. Prints one line of JSON.

Standard library only; ``pull_probe.py PLAN`` where the plan (a JSON file) has two contests, ``ctr`` and
``skopeo``, and names for both sides of each (``ours``, ``theirs``) a command line and the process ids of
what works for it, and the images to measure with.
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
Side = dict[str, Any]
Found = dict[str, dict[str, float]]


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


def measure(side: Side, words: list[str]) -> dict[str, float]:
    """Run one command of a side: wall and CPU seconds, peak memory and bytes written."""
    os.sync()
    seconds, written = used(side["pids"])
    started = time.perf_counter()
    process = subprocess.Popen(
        [*side["command"], *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    memory = Memory([*side["pids"], process.pid])
    assert process.stderr is not None
    complaint = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    most = memory.stop()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)}: {complaint.decode(errors='replace').strip()}")
    os.sync()
    after, written_after = used(side["pids"])
    return {
        "wall": wall,
        "cpu": usage.ru_utime + usage.ru_stime + after - seconds,
        "memory": most,
        "written": (written_after - written + usage.ru_oublock * 512) / (1 << 20),
    }


def must(side: Side, words: list[str]) -> None:
    done = subprocess.run([*side["command"], *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stderr.strip()}")


def ctr(side: Side, image: str, copy: str, plan: dict[str, Any]) -> Found:
    """Everything with one image, from nothing back to nothing; ``copy`` is a name in a registry that is emptied."""
    archive = os.path.join(plan["work"], "archive.tar")
    found = {"pull": measure(side, ["images", "pull", "--plain-http", image])}
    found["export"] = measure(side, ["images", "export", archive, image])
    shutil.rmtree(plan["empty_data"], ignore_errors=True)
    found["push"] = measure(side, ["images", "push", "--plain-http", copy, image])
    must(side, ["images", "rm", "--sync", image])
    found["import"] = measure(side, ["images", "import", archive])
    must(side, ["images", "rm", "--sync", image])
    os.unlink(archive)
    return found


def skopeo(side: Side, image: str, copy: str, plan: dict[str, Any]) -> Found:
    """The same without a store and without unpacking: between a registry, a layout and an archive."""
    work = os.path.join(plan["work"], "skopeo")
    os.mkdir(work)
    layout, archive, again = (
        f"oci:{work}/layout:1",
        f"oci-archive:{work}/a.tar:1",
        f"oci:{work}/b:1",
    )
    words = ["--insecure-policy", "copy", "--quiet"]
    found = {"pull": measure(side, [*words, "--src-tls-verify=false", f"docker://{image}", layout])}
    found["export"] = measure(side, [*words, layout, archive])
    shutil.rmtree(plan["empty_data"], ignore_errors=True)
    found["push"] = measure(side, [*words, "--dest-tls-verify=false", layout, f"docker://{copy}"])
    found["import"] = measure(side, [*words, archive, again])
    shutil.rmtree(work)
    return found


CONTESTS = {"ctr": ctr, "skopeo": skopeo}


def main(path: str) -> None:
    with open(path, encoding="utf-8") as file:
        plan = json.load(file)
    measured = []
    for number in range(plan["rounds"]):
        for image in plan["images"]:
            for contest, shape in CONTESTS.items():
                sides = plan["contests"][contest]
                for name in list(sides) if number % 2 == 0 else list(reversed(sides)):
                    short = image.rpartition("/")[2]
                    copy = f"{plan['empty']}/{contest}-{name}{number}/{short}"
                    for operation, values in shape(sides[name], image, copy, plan).items():
                        measured.append(
                            {"contest": contest, "side": name, "image": short.partition(":")[0],
                             "operation": operation, **values}
                        )  # fmt: skip
    print(json.dumps(measured))


if __name__ == "__main__":
    main(sys.argv[1])
