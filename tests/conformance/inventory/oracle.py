"""Ansible as an oracle: one process of ansible-core that answers what an inventory means."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from toolkit import packages
from toolkit.paths import LOCKS

_PROGRAM = Path(__file__).with_name("ansible_oracle.py")


@dataclass(frozen=True, slots=True)
class Answer:
    """What Ansible makes of an inventory; ``error`` is its reason to refuse it, else empty."""

    listing: dict[str, Any]
    graph: list[str]
    hosts: dict[str, list[str]]
    error: str = ""


class Ansible:
    """A context manager; its process lives as long as the ``with`` block."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def __enter__(self) -> Ansible:
        path = packages.installed(LOCKS / "ansible.lock", "ansible-core, the oracle")
        self._log = (self._home / "oracle.log").open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _START, str(path), str(_PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=self._home,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self._home),
                "LC_ALL": "C.UTF-8",
                "ANSIBLE_INVENTORY_ENABLED": "ini",
                "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
            },
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._log.close()

    def ask(self, path: Path, patterns: tuple[str, ...] = (), *, export: bool = False) -> Answer:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        question = {"path": str(path), "patterns": patterns, "export": export}
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, (self._home / "oracle.log").read_text()[-2000:]
        found = json.loads(line)
        if "error" in found:
            return Answer({}, [], {}, found["error"])
        return Answer(found["list"], found["graph"], found["hosts"])


_START = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
program = sys.argv[2]
del sys.argv[1:]
runpy.run_path(program, run_name="__main__")
"""
