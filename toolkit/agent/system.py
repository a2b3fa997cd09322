"""The machine as the agent sees it: files below a root, and programs it runs.

``root`` is ``/`` on a board; tests give a directory, and a ``runner`` in place of real programs.
Writes are atomic and durable: a reader sees the old file or the whole new one, also after a power
cut (temporary file, fsync, rename, fsync of the directory).
"""

from __future__ import annotations

import errno
import os
import select
import signal
import stat
import time
from contextlib import contextmanager

from toolkit.agent.errors import AgentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    Runner = Callable[[Sequence[str], float], tuple[int, str]]

SPOOL = "/var/lib/pinnace-agent/contents"
"""Where contents from the laptop wait, each under its digest."""
TEMPORARY = ".pinnace-"
"""Infix of temporary names; what an interrupted run leaves carries it and is removed by the next."""

_SAID = frozenset({"message", "hint", "changes", "texts", "what", "why"})

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "HOME": "/root",
    "DEBIAN_FRONTEND": "noninteractive",
    "SYSTEMD_COLORS": "0",
    "SYSTEMD_PAGER": "",
}


class System:
    """File and program access; every path given to it is an absolute path on the board."""

    def __init__(self, root: str = "/", runner: Runner | None = None) -> None:
        self.root = root.rstrip("/")
        self._runner = runner or run_program
        self.units_changed = False
        """Set when a unit file was written: systemd has to read it before the next start."""
        self.started: set[str] = set()
        """Units (re)started in this run: a handler need not restart them again."""
        self.notes: Callable[[str], None] | None = None
        """Told of each path before it is changed."""
        self.hidden: list[str] = []
        """Values of secrets, which nothing that is said or written down may show."""
        self.reboot_owed: str | None = None
        """Why the plan so far needs a reboot, ``None`` when it does not."""

    def path(self, path: str) -> str:
        """Where ``path`` of the board is for this process."""
        return self.root + path

    def masked(self, entry: dict[str, Any]) -> dict[str, Any]:
        """What programs may have said in ``entry``, without secrets. Names and digests stay as they are."""
        if not self.hidden:
            return entry
        return {k: self._mask(v) if k in _SAID else v for k, v in entry.items()}

    def _mask(self, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [self._mask(item) for item in value]
        if isinstance(value, str):
            for secret in sorted(self.hidden, key=len, reverse=True):  # one may be part of another
                value = value.replace(secret, "(secret)")
        return value

    def run(self, argv: Sequence[str], timeout: float = 120) -> tuple[int, str]:
        """Run a program; returns its exit status and its output, both streams in one."""
        return self._runner(argv, timeout)

    def check(self, argv: Sequence[str], timeout: float = 120) -> str:
        """Run a program that must succeed; raises :class:`AgentError` with its last line."""
        status, output = self.run(argv, timeout)
        if status:
            lines = [line for line in output.strip().splitlines() if line.strip()]
            said = lines[-1].strip() if lines else "no output"
            raise AgentError(f"{' '.join(argv)} failed with status {status}: {said}")
        return output

    def lstat(self, path: str) -> os.stat_result | None:
        """What is at ``path`` itself, ``None`` when nothing is."""
        try:
            return os.lstat(self.path(path))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read(self, path: str) -> bytes | None:
        """The contents of a regular file, ``None`` when there is none.

        A FIFO that a user left where a file is expected must not hold the run up.
        """
        try:
            with open(self.path(path), "rb", opener=_without_waiting) as file:
                return file.read() if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def read_text(self, path: str) -> str:
        """The contents as text, empty when there is no such file."""
        return (self.read(path) or b"").decode("utf-8", "replace")

    def changing(self, path: str) -> None:
        """``path`` is about to be changed; for those who do that themselves."""
        if self.notes is not None:
            self.notes(path)

    @contextmanager
    def unnoted(self) -> Iterator[None]:
        """What is changed in here is the agent's own."""
        notes, self.notes = self.notes, None
        try:
            yield
        finally:
            self.notes = notes

    def make_directory(self, path: str, mode: int = 0o755) -> None:
        """Create ``path`` and the missing directories above it (those 0755), durably."""
        if self.lstat(path) is not None:
            return
        parent = os.path.dirname(path)
        if parent != path:
            self.make_directory(parent)
        self.changing(path)
        try:
            os.mkdir(self.path(path), mode)
        except FileExistsError:
            return
        os.chmod(self.path(path), mode)
        sync_directory(self.path(parent))

    def write(self, path: str, chunks: Iterator[bytes], mode: int, uid: int, gid: int) -> None:
        """Put a file in place, whole or not at all."""
        directory, name = os.path.split(self.path(path))
        self.make_directory(os.path.dirname(path))
        self.changing(path)
        self._remove_leftovers(directory, name)
        temporary = os.path.join(directory, f".{name}{TEMPORARY}{os.getpid()}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(temporary, flags, 0o600)
        try:
            try:
                for chunk in chunks:
                    write_all(fd, chunk)
                os.fchown(fd, uid, gid)
                os.fchmod(fd, mode)
                os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(temporary, self.path(path))
        except BaseException as problem:
            os.unlink(temporary)
            # The caller is to hear the file's name, not that of its temporary copy.
            if isinstance(problem, OSError):
                raise OSError(problem.errno, problem.strerror, self.path(path)) from None
            raise
        sync_directory(directory)

    def rewrite(self, path: str, content: bytes, default_mode: int = 0o644) -> None:
        """Replace a file's contents and keep its mode and owner."""
        found = self.lstat(path)
        mode = stat.S_IMODE(found.st_mode) if found else default_mode
        uid, gid = (found.st_uid, found.st_gid) if found else (os.getuid(), os.getgid())
        self.write(path, iter((content,)), mode, uid, gid)

    def remove(self, path: str) -> None:
        """Remove a file or link, durably; nothing there is fine."""
        if self.lstat(path) is not None:
            self.changing(path)
            os.unlink(self.path(path))
            sync_directory(os.path.dirname(self.path(path)))

    def spooled(self, digest: str) -> str:
        """Where this process finds a content that came from the laptop."""
        return self.path(f"{SPOOL}/{digest}")

    @contextmanager
    def acting_as(self, uid: int, gid: int) -> Iterator[None]:
        """With the rights of a user, for work in directories that this user controls.

        A link that the user laid there then leads nowhere that the user could not go alone.
        """
        if os.geteuid() != 0:
            yield
            return
        groups = os.getgroups()
        os.setgroups([gid])
        os.setegid(gid)
        os.seteuid(uid)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(groups)

    def symlink(self, path: str, target: str) -> None:
        """Point ``path`` at ``target``, switching an existing link by rename."""
        directory, name = os.path.split(self.path(path))
        self.make_directory(os.path.dirname(path))
        self.changing(path)
        self._remove_leftovers(directory, name)
        temporary = os.path.join(directory, f".{name}{TEMPORARY}{os.getpid()}")
        os.symlink(target, temporary)
        os.rename(temporary, self.path(path))
        sync_directory(directory)

    def _remove_leftovers(self, directory: str, name: str) -> None:
        prefix = f".{name}{TEMPORARY}"
        for entry in os.listdir(directory):
            if entry.startswith(prefix):
                os.unlink(os.path.join(directory, entry))


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def sync_directory(path: str) -> None:
    """Make renames in the directory ``path`` (of this process) survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as problem:
        # Some file systems (FAT on /boot) do not sync directories.
        if problem.errno not in (errno.EINVAL, errno.EROFS):
            raise
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def run_program(argv: Sequence[str], timeout: float) -> tuple[int, str]:
    """Run a program with a time limit; exit status (127: not found) and output.

    posix_spawn and one pipe, because importing subprocess costs an ARMv6 board a tenth of a second.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, writing, 1),
        (os.POSIX_SPAWN_DUP2, writing, 2),
    ]
    try:
        pid = os.posix_spawnp(argv[0], list(argv), ENVIRONMENT, file_actions=actions, setpgroup=0)
    except FileNotFoundError:
        os.close(reading)
        return 127, f"{argv[0]} is not installed"
    finally:
        os.close(writing)
    try:
        output = read_until(reading, time.monotonic() + timeout)
    finally:
        os.close(reading)
    if output is None:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise AgentError(f"{' '.join(argv)} did not end within {timeout:.0f} s and was stopped")
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), output.decode("utf-8", "replace")


def read_until(fd: int, deadline: float) -> bytes | None:
    """Everything until the end of the stream, ``None`` when the deadline passes first."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    chunks: list[bytes] = []
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        if poll.poll(left * 1000):
            chunk = os.read(fd, 65536)
            if not chunk:
                return b"".join(chunks)
            chunks.append(chunk)
