"""Hooks of a configuration: programs run at fixed points, told the container's state on stdin.

config.md, "POSIX-platform Hooks". A hook that fails, or outlives its time limit, fails the
operation; after ``poststart`` and ``poststop`` failures are only reported.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from typing import Any

from pinnace.errors import Error


def named(spec: dict[str, Any], *names: str) -> bool:
    """Whether the configuration has hooks of one of these kinds."""
    hooks = spec.get("hooks") or {}
    return any(hooks.get(name) for name in names)


def run(spec: dict[str, Any], name: str, state: dict[str, Any]) -> None:
    """Run the hooks called ``name`` on the host, in order. Raises Error when one fails."""
    for hook in (spec.get("hooks") or {}).get(name) or ():
        _run_one(name, hook, json.dumps(state).encode(), str(state["bundle"]))


def run_inside(spec: dict[str, Any], name: str, state: dict[str, Any]) -> None:
    """Run hooks from within the namespaces, where the process has a number of its own."""
    if named(spec, name):
        run(spec, name, {**state, "pid": os.getpid()})


def run_quietly(spec: dict[str, Any], name: str, state: dict[str, Any]) -> list[str]:
    """Run every hook whatever the others did; messages of those that failed."""
    problems = []
    for hook in (spec.get("hooks") or {}).get(name) or ():
        try:
            _run_one(name, hook, json.dumps(state).encode(), str(state["bundle"]))
        except Error as problem:
            problems.append(str(problem))
    return problems


def _run_one(name: str, hook: dict[str, Any], state: bytes, directory: str) -> None:
    path = str(hook.get("path") or "")
    arguments = [str(word) for word in hook.get("args") or [path]]
    environment = dict(str(word).partition("=")[::2] for word in hook.get("env") or ())
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.dup2(reading, 0)
            with contextlib.suppress(OSError):  # the bundle is not seen from within the root
                os.chdir(directory)
            os.execve(path, arguments, environment)  # noqa: S606 (no shell wanted)
        finally:
            os._exit(127)
    os.close(reading)
    with contextlib.suppress(BrokenPipeError):  # a hook need not read
        os.write(writing, state)
    os.close(writing)
    status = _wait(child, float(hook.get("timeout") or 0))
    if status:
        raise Error(f"error running {name} hook {path}: exit status {status}")


def _wait(child: int, timeout: float) -> int:
    deadline = time.monotonic() + timeout if timeout else None
    while True:
        pid, status = os.waitpid(child, os.WNOHANG if deadline else 0)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if deadline and time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return 124
        time.sleep(0.01)
