"""Following a process on its way into a container, from outside: what it says on its line, and what it needs done for it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from typing import Any

from pinnace.errors import Error, FailedPrecondition
from pinnace.linux import cgroups, proc, procfs
from pinnace.linux.kernel import Kernel
from pinnace.runc.channel import Channel, verified
from pinnace.runc.process import Privileges

FAILED = "unable to start container process: "
EXEC_SECONDS = 30
CREATE_SECONDS = 600
"""Between two steps: one of them may copy a directory onto a tmpfs, on a slow disk."""
_LOOK_MILLISECONDS = 200


def heard(channel: Channel) -> tuple[dict[str, Any] | None, list[int]]:
    """The next record of a process that has more to say; None when it has ended."""
    try:
        return channel.receive()
    except ConnectionResetError:
        return None, []


def in_context(record: dict[str, Any]) -> Error:
    try:
        verified(record, "")
    except Error as problem:
        return type(problem)(FAILED + problem.message)
    return Error(FAILED + str(record))


def ended_early(group: cgroups.Cgroup | None) -> Error:
    """A process that ended without a word, as one does that is killed."""
    is_starved = group is not None and group.oom_kills()
    hint = ", likely because the memory limit is too low" if is_starved else ""
    return Error(FAILED + "it ended before it was ready" + hint)


def wait_for(channel: Channel, pid: int, deadline: float) -> None:
    """Wait until there is something to receive; whoever asks must not be held up by a container.

    Raises FailedPrecondition when ``pid`` was stopped, or takes too long.
    """
    poll = select.poll()
    poll.register(channel.socket, select.POLLIN)
    while not poll.poll(_LOOK_MILLISECONDS):
        found = proc.stat(pid) if pid else None
        if found is not None and found.state == "T":
            raise FailedPrecondition(FAILED + "something in the container stopped it")
        if time.monotonic() > deadline:
            raise FailedPrecondition(FAILED + "it does not become ready")


def deliver(
    kernel: Kernel, record: dict[str, Any], pid: int, told: dict[str, Any], channel: Channel
) -> None:
    from pinnace.runc import notify  # only for who has a supervisor

    notify.deliver(kernel, record, pid, told, channel)


def kill_child(pid: int) -> None:
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def set_oom_score(pid: int, score: int | None) -> None:
    if score is None:
        return
    try:
        procfs.write(f"{pid}/oom_score_adj", str(score))
    except PermissionError:
        raise Error(
            f"oomScoreAdj {score} is refused", hint="lowering it takes CAP_SYS_RESOURCE"
        ) from None


def forgo_devices(
    spec: dict[str, Any], cgroup: cgroups.Cgroup | None, privileges: Privileges
) -> bool:
    """Where the kernel can't hold device rules: no device files in the image, none to be made.

    That is a kernel without the devices controller and without BPF for control groups. Without the right to make device files and with a root
    mounted nodev, those the runtime made in /dev are the only ones, which is what rules that deny
    ask for. Gives whether that is so.
    """
    rules = ((spec.get("linux") or {}).get("resources") or {}).get("devices") or ()
    denied = any(not rule.get("allow") for rule in rules)
    if not denied or (cgroup is not None and cgroup.limits_devices()):
        return False
    privileges.drop("CAP_MKNOD")
    return True
