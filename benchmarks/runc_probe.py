"""What runs inside an arena: one runtime, asked line by line. Standard library only.

``runc_probe.py PLAN``, where the plan (a JSON file) has the runtime's command line, its environment, and a bundle's
directory. Each line on standard input is one of the names below; the answer is one line with a number.
"""

from __future__ import annotations

import itertools
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HUNDRED = 100
LIMITS = [1 << shift for shift in range(16, 27)]
"""Memory limits that are tried: 64 KiB to 64 MiB, each twice the one before."""
_TRIES = 3
_QUIET_SECONDS = 0.05
"""Before a run that is measured by itself. The kernel needs 10 to 20 ms until its cgroup.procs costs a grace period again."""


class Runtime:
    """A command with runc's verbs."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._command: list[str] = plan["command"]
        self._environment: dict[str, str] = plan["environment"]
        self._name: str = plan["name"]
        self._bundle = Path(plan["bundle"])
        self._spec: dict[str, Any] = json.loads((self._bundle / "config.json").read_text())
        self._numbers = itertools.count()

    def run_once(self) -> float:
        """Milliseconds of one ``run`` of true."""
        name = self._new()
        begun = time.perf_counter()
        self._need("run", name)
        return (time.perf_counter() - begun) * 1000

    def run_alone(self) -> float:
        """The same, of one that comes when nothing has been done for a while."""
        time.sleep(_QUIET_SECONDS)
        return self.run_once()

    def run_hundred(self) -> float:
        """Milliseconds of a hundred, one after another."""
        return sum(self.run_once() for _ in range(HUNDRED))

    def create_hundred(self) -> float:
        """Milliseconds until a hundred containers are created, all at the same time."""
        names = [self._new() for _ in range(HUNDRED)]
        begun = time.perf_counter()
        running = [self._start("create", name) for name in names]
        statuses = [_ended(each, 300) for each in running]
        spent = (time.perf_counter() - begun) * 1000
        for name in names:
            self._call("delete", "--force", name)
        if any(statuses):
            raise SystemExit(f"{self._name}: {sum(map(bool, statuses))} creations failed")
        return spent

    def created_memory(self) -> float:
        """KiB (PSS) of the process that waits for its start."""
        name = self._new()
        file = self._bundle / "pid"
        self._need("create", "--pid-file", str(file), name)
        rollup = Path(f"/proc/{int(file.read_text())}/smaps_rollup").read_text()
        self._need("delete", "--force", name)
        return float(
            next(line.split()[1] for line in rollup.splitlines() if line.startswith("Pss:"))
        )

    def least_memory(self) -> float:
        """KiB of the smallest limit under which a container runs to its end, each time that it is tried."""
        try:
            return min(filter(self._runs_with, LIMITS), default=float("inf")) / 1024
        finally:
            self._limit(None)

    def _runs_with(self, limit: int) -> bool:
        self._limit(limit)
        names = [self._new() for _ in range(_TRIES)]
        passed = all(self._call("run", name) == 0 for name in names)
        for name in names:
            self._call("delete", "--force", name)
        return passed

    def _limit(self, limit: int | None) -> None:
        spec = json.loads(json.dumps(self._spec))
        if limit is not None:
            spec["linux"].setdefault("resources", {})["memory"] = {"limit": limit}
        (self._bundle / "config.json").write_text(json.dumps(spec))

    def _new(self) -> str:
        return f"{self._name}-{next(self._numbers)}"

    def _start(self, *words: str, error: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*self._command, *words], cwd=self._bundle, env=self._environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=error,
        )  # fmt: skip

    def _call(self, *words: str) -> int:
        with open(self._bundle / "stderr", "wb") as error:
            return _ended(self._start(*words, error=error.fileno()), 60)

    def _need(self, *words: str) -> None:
        if self._call(*words):
            said = (self._bundle / "stderr").read_text(errors="replace").strip()
            raise SystemExit(f"{self._name} {' '.join(words)}: {said}")


def _ended(process: subprocess.Popen[bytes], seconds: int) -> int:
    """Wait for the end of a process; its exit status.

    Not with ``Popen.wait(seconds)``, which looks after 0.5, 1.5, 3.5, 7.5 ... ms: times between two looks would all
    be the same to it.
    """
    with os.fdopen(os.pidfd_open(process.pid), closefd=True) as handle:
        if not select.select([handle], [], [], seconds)[0]:
            process.kill()
    return process.wait()


def main(path: str) -> None:
    runtime = Runtime(json.loads(Path(path).read_text()))
    asked = {
        "run": runtime.run_alone, "run-100": runtime.run_hundred, "create-100": runtime.create_hundred,
        "created-memory": runtime.created_memory, "least-memory": runtime.least_memory,
    }  # fmt: skip
    for line in sys.stdin:
        print(asked[line.strip()](), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
