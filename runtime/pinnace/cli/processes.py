"""A container's process as commands drive it: started, talked to, waited for, removed.

The first process of a container (its task) and further ones (execs) differ only in how they are created and
deleted; here they are one thing, :class:`Process`.
"""

from __future__ import annotations

import signal
import time
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

from pinnace.api.schema import tasks as tasks_api
from pinnace.cli import containers
from pinnace.cli.stdio import Pump, Streams, attach_to, remove_fifos
from pinnace.cli.terminal import RawTerminal
from pinnace.errors import Error, FailedPrecondition, InvalidArgument, NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pinnace.api.schema.containers import Container
    from pinnace.api.schema.tasktypes import Process as ProcessMessage
    from pinnace.api.schema.types import Descriptor
    from pinnace.api.schema.wellknown import Any as AnyMessage
    from pinnace.cli.client import Client
    from pinnace.linux.mount import Mount

_AWAY_SECONDS = 120.0
"""How long a command in the foreground waits for a daemon that has gone: it is restarted, or a new release is put in its place."""
_AGAIN_SECONDS = 0.2
_TTY_SIGNALS = (signal.SIGWINCH, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
Tasks = tasks_api.Tasks


class StdioWish:
    """Where a process's streams go.

    Attributes:
        terminal: one terminal instead of three streams.
        null: nowhere.
        log_uri: to a log of the shim's (``file:///var/log/x``); ``""`` for this command's own streams.
        fifo_directory: where the FIFOs are made.
    """

    __slots__ = ("fifo_directory", "log_uri", "null", "terminal")

    def __init__(
        self, *, terminal: bool, null: bool = False, log_uri: str = "", fifo_directory: str = ""
    ) -> None:
        if terminal and null:
            raise InvalidArgument("tty and null-io cannot be used together")
        if terminal and log_uri:
            raise InvalidArgument("a log takes streams, not a terminal: leave out one of both")
        self.terminal = terminal
        self.null = null
        self.log_uri = log_uri
        self.fifo_directory = fifo_directory


class Process:
    """One process of a container; ``exec_id`` is empty for its first."""

    def __init__(self, client: Client, container_id: str, exec_id: str = "") -> None:
        self.client = client
        self.container_id = container_id
        self.exec_id = exec_id
        self.pid = 0
        self._streams: Streams | None = None
        self._wish = StdioWish(terminal=False)

    # Creating

    def create_task(
        self, container: Container, wish: StdioWish, *, no_pivot: bool = False,
        checkpoint: Descriptor | None = None, mounts: Sequence[Mount] | None = None,
    ) -> None:  # fmt: skip
        """Make the container's task: namespaces and root exist, its command does not run yet.

        With ``checkpoint`` its memory is what that holds. ``mounts`` make its root; without them the daemon is asked.
        """
        if mounts is None:
            rootfs = containers.snapshot_mounts(self.client, container)
        else:
            rootfs = containers.mount_messages(mounts)
        stdin, stdout, stderr = self._open(self.container_id, wish)
        try:
            answer = self.client.call(
                Tasks.create,
                tasks_api.CreateTaskRequest(
                    container_id=self.container_id, rootfs=rootfs, stdin=stdin, stdout=stdout,
                    stderr=stderr, terminal=wish.terminal, checkpoint=checkpoint,
                    options=_task_options(container, no_pivot),
                ),
            )  # fmt: skip
        except BaseException:
            self.close()
            raise
        self.pid = answer.pid

    def create_exec(self, spec: AnyMessage, wish: StdioWish) -> None:
        """Add a process to a running container."""
        stdin, stdout, stderr = self._open(self.exec_id, wish)
        try:
            self.client.call(
                Tasks.exec,
                tasks_api.ExecProcessRequest(
                    container_id=self.container_id, exec_id=self.exec_id, spec=spec, stdin=stdin,
                    stdout=stdout, stderr=stderr, terminal=wish.terminal,
                ),
            )  # fmt: skip
        except BaseException:
            self.close()
            raise

    def adopt(self, running: ProcessMessage) -> None:
        """Take over the streams of a process that somebody else started."""
        self._wish = StdioWish(terminal=running.terminal)
        self._streams = attach_to(
            running.stdin, running.stdout, running.stderr, terminal=running.terminal
        )
        self.pid = running.pid

    def _open(self, name: str, wish: StdioWish) -> tuple[str, str, str]:
        self._wish = wish
        if wish.null:
            return "", "", ""
        if wish.log_uri:
            return "", wish.log_uri, wish.log_uri
        self._streams = Streams(name, terminal=wish.terminal, directory=wish.fifo_directory)
        return self._streams.stdin, self._streams.stdout, self._streams.stderr

    # Driving

    def start(self) -> None:
        request = tasks_api.StartRequest(container_id=self.container_id, exec_id=self.exec_id)
        self.pid = self.client.call(Tasks.start, request).pid or self.pid

    def wait(self) -> int:
        """Block until it has ended; its exit status."""
        return self.client.call(Tasks.wait, self._wait_request()).exit_status

    def _wait_request(self) -> tasks_api.WaitRequest:
        return tasks_api.WaitRequest(container_id=self.container_id, exec_id=self.exec_id)

    def kill(self, number: int, *, everyone: bool = False) -> None:
        self.client.call(
            Tasks.kill,
            tasks_api.KillRequest(
                container_id=self.container_id, exec_id=self.exec_id, signal=number, all=everyone
            ),
        )

    def state(self) -> ProcessMessage:
        """What the daemon knows of it; raises :class:`NotFound`."""
        request = tasks_api.GetRequest(container_id=self.container_id, exec_id=self.exec_id)
        process = self.client.call(Tasks.get, request).process
        if process is None:
            raise NotFound(f"no running task for container {self.container_id}")
        return process

    def remove(self) -> int:
        """Delete it and the FIFOs it was started with; its exit status."""
        state = self.state()
        status = self.delete()
        remove_fifos(state.stdin, state.stdout, state.stderr)
        return status

    def delete(self) -> int:
        """Remove what is left of it after its end; its exit status."""
        if self.exec_id:
            request = tasks_api.DeleteProcessRequest(
                container_id=self.container_id, exec_id=self.exec_id
            )
            return self.client.call(Tasks.delete_process, request).exit_status
        request_task = tasks_api.DeleteTaskRequest(container_id=self.container_id)
        return self.client.call(Tasks.delete, request_task).exit_status

    def abandon(self) -> None:
        """End and remove it after a failure; that failure is what the user hears of."""
        for step in (self._kill_all, self.delete):
            try:
                step()
            except Error:
                continue

    def _kill_all(self) -> None:
        self.kill(signal.SIGKILL, everyone=not self.exec_id)
        self.wait()

    def close(self, *, keep: bool = False) -> None:
        """Close the streams; ``keep`` leaves the FIFOs for an attach later."""
        if self._streams is None:
            return
        if keep:
            self._streams.leave()
        else:
            self._streams.close()

    def foreground(self, *, start: bool, delete: bool) -> int:
        """Be the process's terminal or streams until it has ended; returns its exit status.

        It outlives restarts of the daemon, as the process does.

        Args:
            start: start it first (False when it runs already).
            delete: remove it afterwards.
        """
        raw = RawTerminal(0) if self._wish.terminal else None
        pump = Pump(
            self._streams or attach_to("", "", "", terminal=False),
            on_signal=self._terminal_signal(raw) if raw else self._pass_on,
            on_stdin_end=self._close_stdin,
            **({"watched": _TTY_SIGNALS} if raw else {}),
        )
        with raw or nullcontext():
            pump.watch(
                self.client.begin(Tasks.wait, self._wait_request()), self.wait_through_restarts
            )
            if start:
                self.start()
            if raw:
                self._resize(raw)
            status = pump.run()
            if delete:
                self._delete_surely()
            pump.drain()
        return status

    def wait_through_restarts(self) -> int:
        """:meth:`wait`, also when the daemon goes away meanwhile and another comes: the process does not notice."""
        while True:
            try:
                return self.wait()
            except Unavailable:
                self._await_daemon()

    def _await_daemon(self) -> None:
        """Until a daemon knows of the process again. Raises NotFound when it does not, Unavailable when none comes."""
        deadline = time.monotonic() + _AWAY_SECONDS
        while True:
            time.sleep(_AGAIN_SECONDS)
            try:
                self.state()
                return
            except Unavailable:
                if time.monotonic() >= deadline:
                    raise

    def _delete_surely(self) -> None:
        try:
            self.delete()
        except Unavailable:
            with suppress(NotFound):  # it was deleted, and only the answer lost
                self._await_daemon()
                self.delete()

    def _pass_on(self, number: int) -> None:
        with suppress(NotFound, FailedPrecondition):  # it ended meanwhile
            try:
                self.kill(number)
            except Unavailable:
                self._await_daemon()
                self.kill(number)

    def _terminal_signal(self, raw: RawTerminal):  # type: ignore[no-untyped-def]
        def act(number: int) -> None:
            if number == signal.SIGWINCH:
                self._resize(raw)
            else:
                # Keys travel as bytes; a signal means us. SystemExit puts the terminal back.
                raise SystemExit(128 + number)

        return act

    def _resize(self, raw: RawTerminal) -> None:
        try:
            columns, rows = raw.size()
            self.client.call(
                Tasks.resize_pty,
                tasks_api.ResizePtyRequest(
                    container_id=self.container_id, exec_id=self.exec_id, width=columns, height=rows
                ),
            )
        except (Error, OSError):
            return  # it ended meanwhile, or the terminal has no size

    def _close_stdin(self) -> None:
        request = tasks_api.CloseIORequest(
            container_id=self.container_id, exec_id=self.exec_id, stdin=True
        )
        with suppress(Error):
            try:
                # Nobody waits for the answer: the process may have ended meanwhile.
                self.client.begin(Tasks.close_io, request)
            except Unavailable:
                self._await_daemon()
                self.client.begin(Tasks.close_io, request)


def run_task(
    process: Process, container: Container, wish: StdioWish, *, detach: bool, pid_file: str,
    no_pivot: bool = False, checkpoint: Descriptor | None = None, mounts: Sequence[Mount] | None = None,
) -> int:  # fmt: skip
    """Create and start a container's task; in the foreground until it ends.

    Returns:
        Its exit status, 0 when detached.
    """
    if wish.terminal and not detach:
        RawTerminal(0)  # complain before anything is made
    process.create_task(container, wish, no_pivot=no_pivot, checkpoint=checkpoint, mounts=mounts)
    try:
        if pid_file:
            write_pid(pid_file, process.pid)
        if not detach:
            return process.foreground(start=True, delete=True)
        process.start()
    except BaseException:
        process.abandon()
        raise
    finally:
        process.close(keep=detach)
    return 0


def _task_options(container: Container, no_pivot: bool) -> AnyMessage | None:
    """The container's own options are the daemon's to know; what a task adds goes with all of them."""
    if not no_pivot:
        return None
    from pinnace.api.schema.runc import Options
    from pinnace.api.schema.wellknown import Any as AnyMessage

    known = container.runtime.options if container.runtime else None
    options = known.unpack(Options) if known and known.holds(Options) else Options()
    options.no_pivot_root = True
    return AnyMessage.pack(options)


def write_pid(path: str, pid: int) -> None:
    """Write a pid file whole: a reader never sees half of it."""
    import os

    scratch = f"{path}.{os.getpid()}"
    try:
        with open(scratch, "w", encoding="ascii") as file:
            file.write(str(pid))
        os.rename(scratch, path)
    except OSError as problem:
        raise InvalidArgument(f"pid file {path}: {problem.strerror}") from None


def parse_signal(text: str) -> int:
    """A signal's number from ``9``, ``KILL`` or ``SIGKILL``; raises :class:`InvalidArgument`."""
    if text.isdecimal():
        number = int(text)
        if 0 < number < signal.NSIG:
            return number
    else:
        name = text.upper() if text.upper().startswith("SIG") else f"SIG{text.upper()}"
        if name in signal.Signals.__members__:
            return int(signal.Signals[name])
    raise InvalidArgument(f"unknown signal {text!r}")
