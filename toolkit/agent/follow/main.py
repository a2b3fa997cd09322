"""What the units of a following board run: ``look`` by the timer, ``resume`` after a boot."""

from __future__ import annotations

import fcntl
import os
import sys
import time

from toolkit.agent.errors import AgentError, from_os
from toolkit.agent.follow import report
from toolkit.agent.follow.cycle import Follower
from toolkit.agent.registry import RegistryError
from toolkit.agent.system import System

_LOCK = "/run/pinnace-follow.lock"
_REPORT_SECONDS = 3600
"""A board on which nothing happens says that it is there this often."""


def main(words: list[str]) -> int:
    """Exit status: 0, also where the registry is out of reach; 1 for what was refused or failed."""
    os.umask(0o022)
    system = System()
    lock = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        follower = Follower(system, _say)
    except AgentError as problem:
        _say(f"{problem.message} ({problem.hint})")
        return 1
    status = _guarded(follower.resume)
    if words[:1] != ["resume"]:
        status = max(status, _guarded(follower.look, follower))
    return max(status, _guarded(lambda: _tell(system, follower)))


def _guarded(step: object, follower: Follower | None = None) -> int:
    try:
        step()  # type: ignore[operator]
    except RegistryError as problem:
        _say(f"{problem.message}; everything stays as it is")
        return 0
    except (AgentError, OSError) as problem:
        said = from_os(problem) if isinstance(problem, OSError) else problem
        _say(f"{said.message}" + (f" ({said.hint})" if said.hint else ""))
        if follower is not None and follower.memory.get("refused") != said.message:
            follower.memory.set(refused=said.message, told=False)
        return 1
    return 0


def _tell(system: System, follower: Follower) -> None:
    """Push the status when there is something to say, its health is another, or nothing was said for long."""
    memory = follower.memory
    found = report.look(system)
    same = memory.get("told", False) and memory.get("broken", []) == sorted(found.broken)
    if same and 0 <= time.time() - float(memory.get("at", 0)) < _REPORT_SECONDS:
        return
    with follower.registry() as registry:
        report.push(system, registry, follower.repository, follower.host, memory, found)
    memory.set(told=True, at=time.time(), broken=sorted(found.broken))


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
