"""A process's standard streams, carried over FIFOs between it and this command's own.

The command makes the FIFOs and keeps its ends; the shim opens the others (their paths travel in
Tasks.Create and Tasks.Exec). One thread moves the bytes; signals and the process's end arrive at descriptors
too, so that nothing has to be interrupted.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import stat
import threading
import time
from typing import TYPE_CHECKING

from pinnace.errors import Error, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pinnace.api.client import Call
    from pinnace.api.schema.tasks import WaitResponse

    Awaited = Call[Any, WaitResponse]

FIFO_DIRECTORY = "/run/containerd/fifo"
_CHUNK = 65536
_FORWARDED = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_DRAIN_SECONDS = 2.0


class Streams:
    """The FIFOs of one process, with our ends open.

    Attributes:
        stdin, stdout, stderr: paths for the daemon; ``stderr`` is empty with a terminal.
    """

    def __init__(self, process_id: str, *, terminal: bool, directory: str = "") -> None:
        parent = directory or FIFO_DIRECTORY
        os.makedirs(parent, mode=0o700, exist_ok=True)
        # An id is only a name here: it must not lead elsewhere.
        directory = os.path.join(parent, os.urandom(8).hex())
        os.mkdir(directory, mode=0o700)
        base = os.path.join(directory, process_id.replace("/", "_"))
        self.terminal = terminal
        self.stdin, self.stdout = f"{base}-stdin", f"{base}-stdout"
        self.stderr = "" if terminal else f"{base}-stderr"
        self._fds: dict[str, int] = {}
        try:
            for path in filter(None, (self.stdin, self.stdout, self.stderr)):
                self._make(path)
        except BaseException:
            self.close()
            raise

    def _make(self, path: str) -> None:
        os.mkfifo(path, 0o700)
        # Our end of stdin is opened for both directions: opening for writing alone fails before
        # the reader is there (fifo(7)).
        mode = os.O_RDWR if path == self.stdin else os.O_RDONLY
        self._fds[path] = os.open(path, mode | os.O_NONBLOCK | os.O_CLOEXEC)

    def fd(self, path: str) -> int:
        """Our end of a stream, -1 once it is closed."""
        return self._fds.get(path, -1)

    def close_end(self, path: str) -> None:
        fd = self._fds.pop(path, -1)
        if fd >= 0:
            os.close(fd)

    def close(self) -> None:
        """Close what is open and remove the FIFOs."""
        self.leave()
        remove_fifos(self.stdin, self.stdout, self.stderr)

    def leave(self) -> None:
        """Close our ends but leave the FIFOs, for an attach later."""
        for path in list(self._fds):
            self.close_end(path)


def attach_to(stdin: str, stdout: str, stderr: str, *, terminal: bool) -> Streams:
    """The streams of a process that runs already: its FIFOs, by path; other kinds are not opened."""
    streams = Streams.__new__(Streams)
    streams.terminal = terminal
    streams.stdin, streams.stdout, streams.stderr = stdin, stdout, stderr
    streams._fds = {}
    for path, mode in ((stdin, os.O_RDWR), (stdout, os.O_RDONLY), (stderr, os.O_RDONLY)):
        if is_fifo(path):
            streams._fds[path] = os.open(path, mode | os.O_NONBLOCK | os.O_CLOEXEC)
    return streams


def is_fifo(path: str) -> bool:
    """Whether there is a FIFO at ``path`` (a log's address or an empty path is none)."""
    try:
        return stat.S_ISFIFO(os.lstat(path).st_mode)
    except OSError:
        return False


def remove_fifos(*paths: str) -> None:
    """Remove the FIFOs of a process that is gone, and their directory when nothing else is in it.

    Paths come from the daemon's records; only FIFOs are removed.
    """
    directories = set()
    for path in paths:
        if is_fifo(path):
            os.unlink(path)
            directories.add(os.path.dirname(path))
    for directory in directories:
        try:
            os.rmdir(directory)
        except OSError:
            continue  # something else is in it


class Pump:
    """Moves bytes until the process has ended and everything it wrote is out.

    Args:
        on_signal: called with each signal this command gets.
        on_stdin_end: called once our standard input has ended.
    """

    def __init__(
        self,
        streams: Streams,
        *,
        on_signal: Callable[[int], None],
        on_stdin_end: Callable[[], None],
        watched: tuple[int, ...] = _FORWARDED,
    ) -> None:
        self._streams = streams
        self._on_signal = on_signal
        self._on_stdin_end = on_stdin_end
        self._poll = select.poll()
        self._outputs: dict[int, tuple[str, int]] = {}
        self._pending = b""
        self._signals = self._catch(watched)
        self._ended, self._end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._end_call: Awaited | None = None
        self._end_socket = -1
        self._wait: Callable[[], int] = lambda: 0
        self._result: list[int | Error] = []
        for path, target in ((streams.stdout, 1), (streams.stderr, 2)):
            fd = streams.fd(path)
            if fd >= 0:
                self._outputs[fd] = (path, target)
                self._poll.register(fd, select.POLLIN)
        self._poll.register(self._signals, select.POLLIN)
        self._poll.register(self._ended, select.POLLIN)

    def _catch(self, watched: tuple[int, ...]) -> int:
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in watched:
            # Ignored by who started us (nohup): stays so.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _noted)
        return reader

    def watch(self, end: Awaited, wait: Callable[[], int]) -> None:
        """Have the answer to ``end`` tell of the process's end; begin that before the process, so that it is not missed.

        When the daemon goes away meanwhile, ``wait`` (which blocks and gives the status) runs in a thread.
        """
        self._end_call, self._wait = end, wait
        self._end_socket = end.fileno()
        self._poll.register(self._end_socket, select.POLLIN)

    def run(self) -> int:
        """Move bytes until the process has ended; returns its exit status."""
        if self._streams.fd(self._streams.stdin) >= 0:
            self._poll.register(0, select.POLLIN)
        self._take_end()
        while not self._result:
            for fd, events in self._poll.poll():
                self._handle(fd, events)
            # Any call may have read that answer with its own.
            self._take_end()
        result = self._result[0]
        if isinstance(result, Error):
            raise result
        return result

    def _take_end(self) -> None:
        end = self._end_call
        if end is None or not end.arrived():
            return
        self._end_call = None
        self._forget(self._end_socket)
        try:
            self._result.append(end.result().exit_status)
        except Unavailable:
            threading.Thread(target=self._wait_beside, daemon=True).start()
        except Error as problem:
            self._result.append(problem)

    def _wait_beside(self) -> None:
        try:
            self._result.append(self._wait())
        except Error as problem:
            self._result.append(problem)
        os.write(self._end, b".")

    def drain(self) -> None:
        """Write out what the process left in its streams, once the shim has closed them."""
        deadline = time.monotonic() + _DRAIN_SECONDS
        for fd in (0, self._signals, self._ended):
            self._forget(fd)
        while self._outputs and time.monotonic() < deadline:
            # All of them: a FIFO that never had a writer is at its end, but poll(2) keeps silent.
            for fd in list(self._outputs):
                self._copy_output(fd)
            if self._outputs:
                self._poll.poll(200)

    def _handle(self, fd: int, events: int) -> None:
        if fd in self._outputs:
            self._copy_output(fd)
        elif fd == 0:
            self._copy_input()
        elif fd == self._signals:
            for number in os.read(fd, 64):
                self._on_signal(number)
        elif fd == self._ended:
            os.read(fd, 16)
        elif fd == self._streams.fd(self._streams.stdin):
            self._flush_input()

    def _copy_output(self, fd: int) -> None:
        path, target = self._outputs[fd]
        try:
            chunk = os.read(fd, _CHUNK)
        except BlockingIOError:
            return
        if not chunk:
            self._forget(fd)
            del self._outputs[fd]
            self._streams.close_end(path)
            return
        write_all(target, chunk)

    def _copy_input(self) -> None:
        try:
            chunk = os.read(0, _CHUNK)
        except BlockingIOError:
            return
        except OSError as problem:
            if problem.errno != errno.EIO:  # the terminal is gone
                raise
            chunk = b""
        if not chunk:
            self._forget(0)
            self._streams.close_end(self._streams.stdin)
            self._on_stdin_end()
            return
        self._pending = chunk
        self._flush_input()

    def _flush_input(self) -> None:
        """Write what is pending; while the FIFO is full wait for it instead of for more input."""
        fd = self._streams.fd(self._streams.stdin)
        with contextlib.suppress(BlockingIOError):
            self._pending = self._pending[os.write(fd, self._pending) :]
        if self._pending:
            self._forget(0)
            self._poll.register(fd, select.POLLOUT)
        else:
            self._forget(fd)
            self._poll.register(0, select.POLLIN)

    def _forget(self, fd: int) -> None:
        try:
            self._poll.unregister(fd)
        except KeyError:
            return


def _noted(_number: int, _frame: object) -> None:
    """The wake-up descriptor has told the loop; nothing is left to do here."""


def write_all(fd: int, data: bytes) -> None:
    """Write everything, also to a descriptor that is in non-blocking mode."""
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            select.select([], [fd], [])
