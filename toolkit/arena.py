"""A place of its own for daemons under test: private mounts and processes, gone when it ends.

Inside an arena ``/run`` is empty and every process is a child of the arena's first one: killing that one
ends all of them, and the mounts they made vanish with the namespace. Root is needed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from toolkit.errors import PinnaceError

_CGROUPS = Path("/sys/fs/cgroup")
VERSION_2 = f"umount -R {_CGROUPS} && mount -t cgroup2 none {_CGROUPS}"
"""For an arena's ``setup``: control groups of version 2 alone. Controllers that this machine has in version 1 stay there."""
# The shell mounts a fresh /run, says that it is there, and stays as the first process.
_FIRST = "mount -t tmpfs -o mode=755 tmpfs /run && {setup} && echo ready && exec sleep infinity"


class Arena:
    """Use as a context.

    Attributes:
        scratch: a directory of its own on disk, removed at the end.
        name: unique; also what the cgroups of containers made inside are to be named after.
    """

    def __init__(self, setup: str = "true") -> None:
        """``setup`` is a shell command that changes the arena's mounts before anything runs inside."""
        self._setup = setup
        # Not mkdtemp's names: these may have a "_" where containerd's identifiers may not.
        self.name = f"pinnace-arena-{os.urandom(6).hex()}"
        self.scratch = Path(tempfile.gettempdir()) / self.name
        self.scratch.mkdir(mode=0o700)
        self._first: subprocess.Popen[str] | None = None
        self._pid = 0

    def __enter__(self) -> Arena:
        command = [
            "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
            "sh", "-c", _FIRST.format(setup=self._setup),
        ]  # fmt: skip
        self._first = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        assert self._first.stdout
        if self._first.stdout.readline() != "ready\n":
            self.__exit__(None, None, None)
            raise PinnaceError("cannot make namespaces of its own on this machine")
        children = Path(f"/proc/{self._first.pid}/task/{self._first.pid}/children")
        self._pid = int(children.read_text().split()[0])
        return self

    @property
    def pid(self) -> int:
        """The first process inside, as this machine numbers it."""
        return self._pid

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._first is not None:
            # unshare ends with its child, and waits for it, where an init may take its time to.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid or self._first.pid, signal.SIGKILL)
            self._first.wait()
            if self._first.stdout:
                self._first.stdout.close()
            _wait_gone(self._pid)
        shutil.rmtree(self.scratch, ignore_errors=True)
        remove_cgroups(self.name)

    def command(self, words: Sequence[str | Path]) -> list[str]:
        """The words that run ``words`` inside."""
        return [
            "nsenter",
            f"--target={self._pid}",
            "--mount",
            "--pid",
            "--root",
            "--",
            *map(str, words),
        ]

    def run(self, words: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command inside and collect what it prints."""
        settings = {"capture_output": True, "text": True, "check": False, "timeout": 120, **options}
        done: subprocess.CompletedProcess[str] = subprocess.run(self.command(words), **settings)
        return done

    def start(self, words: Sequence[str | Path], *, log: str, **options: Any) -> subprocess.Popen[bytes]:  # fmt: skip
        """Start a daemon inside; what it prints goes to ``log`` in the scratch directory."""
        with open(self.scratch / log, "ab") as output:
            out: IO[bytes] = output
            return subprocess.Popen(
                self.command(words), stdin=subprocess.DEVNULL, stdout=out, stderr=out, **options
            )

    def wait_for(self, path: str, *, log: str, seconds: float = 20) -> None:
        """Wait until ``path`` (a socket) is there inside; raises with the log's last line."""
        seen_inside = Path(f"/proc/{self._pid}/root{path}")
        deadline = time.monotonic() + seconds
        while not seen_inside.exists():
            if time.monotonic() > deadline:
                lines = (self.scratch / log).read_text(errors="replace").splitlines()
                raise PinnaceError(f"{path} did not appear: {(lines or ['no output'])[-1]}")
            time.sleep(0.02)


def remove_cgroups(name: str) -> None:
    """Remove what containers left of the cgroups called ``name``, in every hierarchy."""
    for top in [_CGROUPS / name, *_CGROUPS.glob(f"*/{name}")]:
        for directory, _, _ in os.walk(top, topdown=False):
            try:
                os.rmdir(directory)
            except OSError:
                continue  # something still runs in it: not ours to end


def _wait_gone(pid: int, seconds: float = 10) -> None:
    """The kernel ends a process namespace's members on its own time."""
    deadline = time.monotonic() + seconds
    while pid and os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:
        time.sleep(0.02)
