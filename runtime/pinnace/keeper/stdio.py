"""A process's standard streams: FIFOs, log files, terminals, as containerd's clients name them.

What a client passes is a path of a FIFO that it has made, a ``file://`` URI, or nothing. The shim copies between these and pipes (or
a terminal) of the process: a client that goes away neither kills a container nor stops its output, one that reads
slowly gets all of it, and with a log's own descriptor a container could cut the log short.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import stat
import struct
import termios
from typing import TYPE_CHECKING, Any

from pinnace.errors import InvalidArgument, NotFound, Unimplemented
from pinnace.keeper.loop import READ, WRITE, Loop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_CHUNK = 65536
_CHUNKS = 16
"""How many are copied before others have their turn; together as much as a pipe can be made to hold (pipe(7))."""


class Stdio:
    """The streams of one process, from before it is created until it is deleted."""

    __slots__ = ("_copies", "_drains", "_held", "_input", "_loop", "_writers", "console", "paths")

    def __init__(self, loop: Loop, params: Mapping[str, Any]) -> None:
        self._loop = loop
        self.paths = {name: str(params.get(name) or "") for name in ("stdin", "stdout", "stderr")}
        self._held: list[int] = []
        self._writers: list[int] = []
        self._input: Copy | None = None
        self._copies: list[Copy] = []
        self._drains: list[Copy] = []
        self.console: int | None = None

    def open(self) -> tuple[int, int, int]:
        """The descriptors for a process without a terminal; it gets copies, :meth:`started` closes these."""
        try:
            stdin = self._open_input()
            stdout = self._open_output(self.paths["stdout"])
            stderr = self._open_output(self.paths["stderr"])
        except BaseException:
            self.close()
            raise
        return stdin, stdout, stderr

    def attach_console(self, console: int) -> None:
        """Copy between the terminal's master and the client's FIFOs."""
        self.console = console
        os.set_blocking(console, False)
        if self.paths["stdin"]:
            source = self._open_source(self.paths["stdin"])
            self._input = Copy(self._loop, source, os.dup(console), on_end=self._forget_input)
        self._copy_output(os.dup(console), self.paths["stdout"])

    def resize(self, width: int, height: int) -> None:
        """Set the terminal's size in cells; raises InvalidArgument when there is none."""
        if self.console is None:
            raise InvalidArgument("the process has no terminal")
        if not (0 <= width < 1 << 16 and 0 <= height < 1 << 16):
            raise InvalidArgument(f"invalid terminal size {width}x{height}")
        fcntl.ioctl(self.console, termios.TIOCSWINSZ, struct.pack("4H", height, width, 0, 0))

    def close_input(self) -> None:
        """The process reads an end of file once it has read what is there."""
        if self._input is not None:
            self._input.finish()

    def ended(self) -> None:
        """The process has ended: what it wrote is passed on, then readers find the end.

        What others write that it has left behind is read on, and dropped: a pipe without a reader would kill them (SIGPIPE).
        """
        self._close_writers()
        if self._input is not None:
            self._input.close()
            self._input = None
        for copy in self._copies:
            copy.finish(self._drain if self.console is None else None)

    def _drain(self, source: int) -> None:
        """Read on from a pipe, if somebody has it for writing."""
        poll = select.poll()
        poll.register(source, select.POLLIN)
        if any(events & select.POLLHUP for _, events in poll.poll(0)):
            os.close(source)
            return
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        self._drains.append(Copy(self._loop, source, null, is_lossy=True))

    def close(self) -> None:
        """Let go of everything; what nobody has read is lost."""
        for drain in self.retire():
            drain.close()

    def adopt(self, drains: list[Copy]) -> None:
        """Keep what :meth:`retire` gave, for as long as these streams are."""
        self._drains = [drain for drain in (*self._drains, *drains) if not drain.is_over]

    def retire(self) -> list[Copy]:
        """Let go of everything but the pipes that others may still write to."""
        self._close_writers()
        if self._input is not None:
            self._input.close()
            self._input = None
        for copy in self._copies:
            copy.finish()
            copy.close()
            copy.release()
        self._copies.clear()
        drains, self._drains = self._drains, []
        for fd in self._held:
            os.close(fd)
        self._held.clear()
        if self.console is not None:
            os.close(self.console)
            self.console = None
        return drains

    # --- dozing ------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any] | None:
        """Everything, for :meth:`restore` in a process that has the same descriptors; ``None`` while bytes are on their way."""
        if any(copy.is_busy for copy in self._all()):
            return None
        return {
            "paths": self.paths,
            "held": self._held,
            "writers": self._writers,
            "console": self.console,
            "input": None if self._input is None else self._input.describe(),
            "copies": [copy.describe() for copy in self._copies],
            "drains": [drain.describe()[:2] for drain in self._drains if not drain.is_over],
        }

    @classmethod
    def restore(cls, loop: Loop, state: Mapping[str, Any]) -> Stdio:
        """What :meth:`describe` told of."""
        stdio = cls(loop, state["paths"])
        stdio._held += state["held"]
        stdio._writers += state["writers"]
        stdio.console = state["console"]
        if state["input"] is not None:
            source, target, *_ = state["input"]
            stdio._input = Copy(loop, source, target, on_end=stdio._forget_input)
        for source, target, reader, is_lossy in state["copies"]:
            if source < 0:
                # It is over, but for a client that is late and may still read what it has left.
                stdio._held += [reader] if reader is not None and reader >= 0 else []
            elif reader is None:
                stdio._copies.append(Copy(loop, source, target, is_lossy=is_lossy))
            else:
                stdio._copies.append(FifoCopy(loop, source, target, reader))
        for source, target in state["drains"]:
            stdio._drains.append(Copy(loop, source, target, is_lossy=True))
        return stdio

    def _all(self) -> list[Copy]:
        found = (self._input, *self._copies, *self._drains)
        return [copy for copy in found if copy is not None]

    def descriptors(self) -> list[int]:
        """All that are open."""
        found = [*self._held, *self._writers, -1 if self.console is None else self.console]
        for source, target, reader, _ in (copy.describe() for copy in self._all()):
            found += [source, target, -1 if reader is None else reader]
        return [fd for fd in found if fd >= 0]

    def items(self) -> list[str]:
        """What ``runtime/native/doze.c`` has to copy, or to wake up for, in its words."""
        found = []
        for source, target, reader, is_lossy in (copy.describe() for copy in self._all()):
            if source < 0:
                continue
            if self.console is not None:
                found.append(f"w{source}")
            elif is_lossy:
                found.append(f"l{source}:{target}")
            else:
                found.append(f"r{source}:{target}" + ("" if reader is None else f":{reader}"))
        return found

    # --- opening -----------------------------------------------------------------------------

    def _open_input(self) -> int:
        path = self.paths["stdin"]
        if not path:
            return self._keep_writer(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        source = self._open_source(path)
        reading, writing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(writing, False)
        self._input = Copy(self._loop, source, writing, on_end=self._forget_input)
        return self._keep_writer(reading)

    def _open_source(self, path: str) -> int:
        """The reading end of an input FIFO.

        A writing end is held as well, as containerd's shim does: a client that detaches is not the end
        of the input, and another may attach; only :meth:`close_input` is.
        """
        source = _open_fifo(path, os.O_RDONLY)
        self._held.append(_open_fifo(path, os.O_WRONLY))
        return source

    def _forget_input(self) -> None:
        self._input = None

    def _open_output(self, path: str) -> int:
        if not path:
            return self._keep_writer(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC))
        reading, writing = os.pipe2(os.O_CLOEXEC)
        self._keep_writer(writing)
        try:
            os.set_blocking(reading, False)
            self._copy_output(reading, path)
        except BaseException:
            os.close(reading)
            raise
        return writing

    def _copy_output(self, source: int, path: str) -> None:
        """Copy from ``source``, which belongs to the copy then, to a FIFO, a log, or nowhere."""
        if path.startswith("file://"):
            log = _open_log(path[len("file://") :])
            self._copies.append(Copy(self._loop, source, log, is_lossy=True))
        elif not path:
            null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            self._copies.append(Copy(self._loop, source, null))
        else:
            # Without a reading end of our own there is no opening the other one without waiting.
            reader = _open_fifo(path, os.O_RDONLY)
            try:
                writer = _open_fifo(path, os.O_WRONLY)
            except BaseException:
                os.close(reader)
                raise
            self._copies.append(FifoCopy(self._loop, source, writer, reader))

    def _keep_writer(self, fd: int) -> int:
        self._writers.append(fd)
        return fd

    def _close_writers(self) -> None:
        for fd in self._writers:
            os.close(fd)
        self._writers.clear()


class Copy:
    """Moves bytes from one descriptor to another, never blocking; both belong to it."""

    __slots__ = (
        "_data", "_ending", "_is_lossy", "_loop", "_on_end", "_on_rest", "_source", "_target",
    )  # fmt: skip

    def __init__(
        self, loop: Loop, source: int, target: int, on_end: Callable[[], None] | None = None,
        *, is_lossy: bool = False,
    ) -> None:  # fmt: skip
        """``on_end`` is called at the end; a lossy one drops what the target refuses."""
        self._loop = loop
        self._source = source
        self._target = target
        self._data = b""
        self._ending = False
        self._on_end = on_end
        self._on_rest: Callable[[int], None] | None = None
        self._is_lossy = is_lossy
        loop.watch(source, READ, self._readable, is_traffic=True)

    @property
    def is_over(self) -> bool:
        return self._source < 0

    def finish(self, on_rest: Callable[[int], None] | None = None) -> None:
        """Pass on what is there now, then close; whoever still writes is not waited for.

        ``on_rest`` is given the source, which is not closed then.
        """
        self._on_rest = on_rest or self._on_rest
        if self._source < 0:
            return
        self._ending = True
        if not self._data:
            self._readable(READ)
        if not self._data:
            self.close()

    def close(self) -> None:
        """Close both ends at once."""
        if self._source < 0:
            return
        self._loop.forget(self._source)
        self._loop.forget(self._target)
        source = self._source
        os.close(self._target)
        self._source = self._target = -1
        if self._on_rest is None:
            os.close(source)
        else:
            self._on_rest(source)
        if self._on_end is not None:
            self._on_end()

    @property
    def is_busy(self) -> bool:
        """Whether it has read what is not written yet."""
        return bool(self._data)

    def describe(self) -> tuple[int, int, int | None, bool]:
        """Source and target (-1 at its end), the reading end that it holds (``None`` if its kind has none), is it lossy."""
        return self._source, self._target, None, self._is_lossy

    def release(self) -> None:
        """Let go of what outlives the copying, if anything does."""

    def _readable(self, _events: int) -> None:
        for _ in range(_CHUNKS):
            if self._source < 0 or self._data:
                return
            try:
                self._data = os.read(self._source, _CHUNK)
            except BlockingIOError:
                if self._ending:
                    self.close()
                return
            except OSError as problem:
                # A terminal's master says EIO when its last user has closed it.
                if problem.errno != errno.EIO:
                    raise
            if not self._data:
                self.close()
                return
            self._write()

    def _writable(self, _: int) -> None:
        self._write()
        self._go_on()

    def _go_on(self) -> None:
        if self._source >= 0 and not self._data:
            self._loop.forget(self._target)
            self._loop.watch(self._source, READ, self._readable, is_traffic=True)
            self._readable(READ)

    def _write(self) -> None:
        try:
            self._data = self._data[os.write(self._target, self._data) :]
        except BlockingIOError:
            pass  # no room: wait below
        except OSError:
            if not self._is_lossy:
                self.close()  # nobody reads any more
                return
            self._data = b""
        self._wait_for_room()

    def _wait_for_room(self) -> None:
        if self._data:
            self._loop.forget(self._source)
            self._loop.forget(self._target)
            self._loop.watch(self._target, WRITE, self._writable, is_traffic=True)


class FifoCopy(Copy):
    """Copies output to a client's FIFO, whose reading end it holds: what is written before a client comes waits there.

    While the FIFO is full that end is closed, because only then does the kernel tell whether anybody else reads
    (EPIPE): one who is slow is waited for; without one, output is dropped, and the container goes on. After the end the
    reading end stays open for a client that is late, until :meth:`release`.
    """

    __slots__ = ("_reader",)

    def __init__(self, loop: Loop, source: int, target: int, reader: int) -> None:
        self._reader = reader
        super().__init__(loop, source, target)

    def finish(self, on_rest: Callable[[int], None] | None = None) -> None:
        """Pass on everything at once: the FIFO grows as far as it must, so that nothing is lost and nobody waited for."""
        if self._source >= 0:
            pending = sum(_unread(fd) for fd in (self._source, self._target)) + len(self._data)
            with contextlib.suppress(OSError):  # a limit: what has room is passed on
                fcntl.fcntl(self._target, fcntl.F_SETPIPE_SZ, pending + 2 * _CHUNK)
            if self._data:
                self._writable(WRITE)
        super().finish(on_rest)

    def describe(self) -> tuple[int, int, int | None, bool]:
        return self._source, self._target, self._reader, self._is_lossy

    def release(self) -> None:
        if self._reader >= 0:
            os.close(self._reader)
            self._reader = -1

    def _write(self) -> None:
        try:
            self._data = self._data[os.write(self._target, self._data) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._data = b""  # nobody reads
        if self._data:  # no room for all of it
            self.release()
            self._wait_for_room()
        elif self._reader < 0:
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
            self._reader = os.open(f"/proc/self/fd/{self._target}", flags)


def _unread(fd: int) -> int:
    """Bytes that wait in a pipe, FIFO or terminal (FIONREAD)."""
    found: int = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))[0]
    return found


def _open_fifo(path: str, mode: int) -> int:
    """Open a client's FIFO without waiting for its other end; raises NotFound, InvalidArgument."""
    if "://" in path:
        raise Unimplemented(f"log driver of {path} is not supported", hint="use file:// or a FIFO")
    try:
        fd = os.open(path, mode | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError:
        raise NotFound(f"stdio {path} does not exist") from None
    except OSError as problem:
        raise InvalidArgument(f"stdio {path}: {problem.strerror}") from None
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        os.close(fd)
        raise InvalidArgument(f"stdio {path} is not a FIFO")
    return fd


def _open_log(path: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY | os.O_NOFOLLOW
    try:
        os.makedirs(os.path.dirname(path), mode=0o711, exist_ok=True)
        return os.open(path, flags, 0o600)
    except OSError as problem:
        raise InvalidArgument(f"log file {path}: {problem.strerror}") from None
