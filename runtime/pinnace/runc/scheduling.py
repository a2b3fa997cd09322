"""What a configuration says about scheduling, checked before the container and set inside of it.

``prepare`` runs on the host, where modules can still be imported; it gives None for the usual
configuration, which asks for nothing of this.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

from pinnace.errors import Error, InvalidArgument

_Step = tuple[str, Callable[[], None]]


class Scheduling:
    """The steps to take; ``apply`` is called once, by the process itself."""

    __slots__ = ("_steps",)

    def __init__(self, steps: list[_Step]) -> None:
        self._steps = steps

    def apply(self) -> None:
        """Raises InvalidArgument for a word that is none, Error when the kernel refuses."""
        for what, step in self._steps:
            try:
                step()
            except ValueError as problem:
                raise InvalidArgument(f"{what}: {problem}") from None
            except OSError as problem:
                raise Error(f"setting {what}: {os.strerror(problem.errno or 0)}") from None


def prepare(process: dict[str, Any], linux: dict[str, Any]) -> Scheduling | None:
    """The scheduling that ``process`` and ``linux`` of a configuration ask for."""
    scheduler, priority = process.get("scheduler"), process.get("ioPriority")
    personality, memory = linux.get("personality"), linux.get("memoryPolicy")
    if not (scheduler or priority or personality or memory):
        return None
    from pinnace.linux import scheduling as kernel  # few configurations ask for any of it

    steps: list[_Step] = []
    if personality:
        domain = str(personality.get("domain") or "LINUX")
        steps.append(("linux.personality", partial(kernel.set_personality, domain)))
    if scheduler:
        steps.append(("process.scheduler", _scheduler(kernel, scheduler)))
    if priority:
        words = str(priority.get("class") or ""), int(priority.get("priority") or 0)
        steps.append(("process.ioPriority", partial(kernel.set_io_priority, *words)))
    if memory:
        mode, nodes = str(memory.get("mode") or ""), str(memory.get("nodes") or "")
        flags = memory.get("flags") or ()
        steps.append(("linux.memoryPolicy", partial(kernel.set_memory_policy, mode, nodes, flags)))
    return Scheduling(steps)


def _scheduler(kernel: ModuleType, wanted: dict[str, Any]) -> Callable[[], None]:
    numbers = {
        key: int(wanted.get(key) or 0)
        for key in ("nice", "priority", "runtime", "deadline", "period")
    }
    policy, flags = str(wanted.get("policy") or ""), wanted.get("flags") or ()
    return partial(kernel.set_scheduler, policy, flags=flags, **numbers)


class Affinity:
    """``process.execCPUAffinity``: the processors of an exec'd process, before and in its cgroup."""

    __slots__ = ("final", "initial")

    def __init__(self, process: dict[str, Any]) -> None:
        """Raises InvalidArgument for what is no list of processors."""
        wanted = process.get("execCPUAffinity") or {}
        self.initial, self.final = (_processors(wanted, key) for key in ("initial", "final"))


def _processors(wanted: dict[str, Any], key: str) -> set[int]:
    if not wanted.get(key):
        return set()
    from pinnace.linux.scheduling import ids

    try:
        return ids(str(wanted[key]))
    except ValueError as problem:
        raise InvalidArgument(f"process.execCPUAffinity.{key}: {problem}") from None


def set_affinity(processors: set[int]) -> None:
    """sched_setaffinity(2) of the calling process; an empty set changes nothing."""
    if not processors:
        return
    try:
        os.sched_setaffinity(0, processors)
    except OSError as problem:
        raise Error(f"setting process.execCPUAffinity: {problem.strerror}") from None
