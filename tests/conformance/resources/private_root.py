"""A whole machine for a test function, in a few milliseconds: this one's files, privately.

An overlay over ``/`` in namespaces of a forked process takes every change, and programs are real: useradd,
mount, apt-get, systemd-analyze. Those that would reach beyond (systemd, swap, modules, the clock) are small
stand-ins that keep their state in files. When the function ends, all of it is gone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pinnace.linux import kernel
from pinnace.linux import mount as mounts
from tests.unit.agent.board import Pipes
from toolkit.agent.kinds import machine as machine_kinds
from toolkit.agent.main import Agent
from toolkit.agent.system import System
from toolkit.plan import ship
from toolkit.plan.model import Planned, make
from toolkit.resources import Resource

STAND_INS = Path(__file__).parent / "stand_ins"
CLOCK = "/var/lib/clock-offset"
_NEW = kernel.CLONE_NEWNS | kernel.CLONE_NEWUTS | kernel.CLONE_NEWNET
_WRITES = {
    "os.chmod", "os.chown", "os.link", "os.mkdir", "os.posix_spawn", "os.remove", "os.rename",
    "os.rmdir", "os.symlink", "os.truncate", "os.utime",
}  # fmt: skip
"""Audit events of calls that change something (docs.python.org, "Audit events table")."""

_TRUE = 3
"""Exit status of a function that returned a true value."""
_upper = -1


def run(scratch: Path, function: Callable[[], bool | None]) -> bool:
    """Run ``function`` in a private root below ``scratch`` (a tmpfs) and give what it returns.

    Its failure is raised here as :class:`AssertionError`.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        status = 1
        try:
            _enter(scratch)
            status = _TRUE if function() else 0
        except BaseException:
            os.write(writing, traceback.format_exc().encode()[-60000:])
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading, "rb") as said:
        text = said.read().decode()
    _, status = os.waitpid(pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, _TRUE):
        raise AssertionError(f"in the private root: {text or f'status {status}'}")
    return status != 0


def _enter(scratch: Path) -> None:
    global _upper
    kernel.Kernel().unshare(_NEW)
    mounts.mount("none", "/", "", mounts.MS_PRIVATE | mounts.MS_REC)
    upper, work, root = (scratch / name for name in ("upper", "work", "root"))
    shutil.copytree(STAND_INS, upper)
    for directory in (work, root):
        directory.mkdir()
    _upper = os.open(upper, os.O_PATH)
    mounts.mount("overlay", str(root), "overlay", 0, f"lowerdir=/,upperdir={upper},workdir={work}")  # fmt: skip
    for name in ("proc", "dev"):
        mounts.mount(f"/{name}", f"{root}/{name}", "", mounts.MS_BIND | mounts.MS_REC)
    mounts.mount("tmpfs", f"{root}/run", "tmpfs", 0, "mode=755")
    os.chroot(root)
    os.chdir("/")
    Path("/run/swaps").write_text("Filename\tType\tSize\tUsed\tPriority\n")
    mounts.mount("/run/swaps", "/proc/swaps", "", mounts.MS_BIND)


def sh(script: str) -> str:
    """Run a shell script that must succeed; gives its output."""
    done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
    return done.stdout


def snapshot() -> dict[str, Any]:
    """Everything that is not as in the real root: path to type, mode, owner, time, contents."""
    found: dict[str, Any] = {}
    for directory, names, files in os.walk(f"/proc/self/fd/{_upper}/"):
        for name in (*names, *files):
            path = os.path.join(directory, name)
            about = os.lstat(path)
            data = b""
            if stat.S_ISREG(about.st_mode):
                data = hashlib.sha256(Path(path).read_bytes()).digest()
            elif stat.S_ISLNK(about.st_mode):
                data = os.readlink(path).encode()
            time = 0 if stat.S_ISDIR(about.st_mode) else about.st_mtime_ns
            found[path.split("/", 5)[5]] = (about.st_mode, about.st_uid, about.st_gid, time, data)
    return found


class Killed(Exception):
    """The agent was killed at the step that was asked for."""


class _Pipes:
    """The agent in a forked process, and the laptop's end of its streams."""

    def __init__(self, kill_at: int) -> None:
        to_agent, from_agent = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(to_agent[1])
                os.close(from_agent[0])
                _prepare(kill_at)
                reading, writing = os.fdopen(to_agent[0], "rb"), os.fdopen(from_agent[1], "wb")
                os._exit(Agent(reading, writing, System("/")).run())
            finally:
                traceback.print_exc()
                os._exit(99)
        os.close(to_agent[0])
        os.close(from_agent[1])
        self._to, self._from = os.fdopen(to_agent[1], "wb"), os.fdopen(from_agent[0], "rb")

    def send(self, data: bytes) -> None:
        if data != ship.payload():  # it is here already
            self._to.write(data)
            self._to.flush()

    def read_line(self) -> bytes:
        line = self._from.readline()
        if not line:
            raise Killed
        return line

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def stderr(self) -> bytes:
        return b""

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._to.close()
        self._from.close()
        self.wait()


def _prepare(kill_at: int) -> None:
    """In the agent's process: a clock of its own, and the end at step ``kill_at`` (0: none)."""
    real = machine_kinds.time
    offset = float(Path(CLOCK).read_text()) if os.path.exists(CLOCK) else 0.0
    machine_kinds.time = SimpleNamespace(  # type: ignore[assignment]
        CLOCK_REALTIME=real.CLOCK_REALTIME,
        monotonic=real.monotonic,
        time=lambda: real.time() + offset,
        clock_settime=lambda _, now: Path(CLOCK).write_text(str(now - real.time())),
    )
    steps = 0

    def step(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal steps
        if event == "open":
            flags = arguments[2] if isinstance(arguments[2], int) else 0
            if not flags & (os.O_WRONLY | os.O_RDWR) or str(arguments[0]).startswith("/dev/"):
                return
        elif event not in _WRITES:
            return
        steps += 1
        if steps == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    if kill_at:
        sys.addaudithook(step)


def converge(
    resources: Iterable[Resource],
    *,
    mode: str = "apply",
    kill_at: int = 0,
    python: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """All events of one run, in a forked process, or in that of another ``python``.

    Raises :class:`Killed` when the agent was killed before its ``kill_at``-th write.
    """
    plan = make(Planned("test", resource) for resource in resources)
    pipes = Pipes(Path("/"), python) if python else _Pipes(kill_at)
    try:
        agent = ship.Agent("board", pipes)
        agent.hello()
        run = {"id": "1", "by": "somebody@laptop"}
        message = {**plan.wire(), "mode": mode, "show_text": True, "run": run}
        message = json.loads(json.dumps(message))
        return list(agent.converge(message, plan.contents, lambda *_: None))
    except BrokenPipeError:
        raise Killed from None
    finally:
        pipes.close()


def counts(events: list[dict[str, Any]]) -> Mapping[str, int]:
    return dict(events[-1]["counts"])
