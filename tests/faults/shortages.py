"""Real shortages of processes and descriptors, for processes that run already."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import socket
import time
from collections.abc import Callable, Iterator

from pinnace.linux import cgroups
from pinnace.linux.cgroups.base import Cgroup

_numbers = itertools.count()


@contextlib.contextmanager
def group_of(pid: int) -> Iterator[Cgroup]:
    """``pid`` in a control group of its own, which is removed in the end with all its processes."""
    group = cgroups.find(f"/pinnace-short-{os.getpid()}-{next(_numbers)}")
    group.create()
    try:
        for directory in group.directories():
            _write(directory, "cgroup.procs", pid)
        yield group
    finally:
        group.kill()
        group.delete()


@contextlib.contextmanager
def no_more_processes(group: Cgroup) -> Iterator[None]:
    """Every fork and every new thread in a group fails, with EAGAIN."""
    group.apply({"pids": {"limit": 1}})
    try:
        yield
    finally:
        group.apply({"pids": {"limit": -1}})


@contextlib.contextmanager
def limited_descriptors(pid: int, limit: int) -> Iterator[None]:
    """Everything that needs a descriptor from that number on fails with EMFILE in this process."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


@contextlib.contextmanager
def no_more_descriptors(pid: int, address: str) -> Iterator[None]:
    """Connections to what a process serves, as many as it can have descriptors for, and two more."""
    opened = [int(name) for name in os.listdir(f"/proc/{pid}/fd")]
    with contextlib.ExitStack() as held, limited_descriptors(pid, max(opened) + 1):
        for _ in range(max(opened) + 1 - len(opened) + 2):
            held.enter_context(socket.socket(socket.AF_UNIX)).connect(address)
        yield


def share_of_processor(pid: int, seconds: float = 1.0) -> float:
    """How much of one processor a process has used meanwhile."""
    before, begin = _used(pid), time.monotonic()
    time.sleep(seconds)
    return (_used(pid) - before) / (time.monotonic() - begin)


def until(holds: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Wait for something; an AssertionError says what did not happen in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.01)


def _used(pid: int) -> float:
    """Seconds of processor time (proc_pid_stat(5))."""
    with open(f"/proc/{pid}/stat", encoding="latin-1") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _write(directory: str, name: str, value: int) -> None:
    with open(f"{directory}/{name}", "w", encoding="ascii") as file:
        file.write(str(value))
