"""The keeper: one thread, warm, that forks commands and shims for whoever may ask.

``op cli`` forks a command onto the descriptors that came with the request, says its process id, passes on
signals, and says how it ended; ``op shim`` forks a shim that outlives the keeper's connection and the
daemon. Only root, or the keeper's own user, is answered. A request that is never finished is dropped.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from pinnace.errors import (
    Error,
    InvalidArgument,
    PermissionDenied,
    ResourceExhausted,
    described,
    from_os,
)
from pinnace.keeper import command, practice, sockets
from pinnace.keeper.protocol import Receiver, pack
from pinnace.keeper.shims import Shims, StartShim
from pinnace.keeper.spare import Spare

_REQUEST_SECONDS = 10.0
_MAX_SESSIONS = 512
_QUIET_MILLISECONDS = 50.0
"""Without anything to do for so long, a spare is made, so that it takes no time from a command that just began."""
_LEARN_SECONDS = 1.0
"""What a command wanted is imported after so long at the latest, however busy the keeper is."""
_SPARE_SECONDS = 30.0
"""How long after a command there is a spare for the next one: its 4 MB are not held while nobody comes."""
# What a launcher passes on, and SIGSTOP for Ctrl-Z.
_ALLOWED = frozenset(
    (
        signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGCONT,
        signal.SIGWINCH, signal.SIGUSR1, signal.SIGUSR2, signal.SIGSTOP, signal.SIGKILL,
    )
)  # fmt: skip


class _Session:
    """One connection and the process it is about, once there is one."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.receiver = Receiver(connection)
        self.deadline = time.monotonic() + _REQUEST_SECONDS
        self.pid = 0
        self.has_shim = False
        """Whether a shim is being started for it."""

    def say(self, document: dict[str, Any]) -> None:
        try:
            self.connection.sendall(pack(document))
        except OSError:
            return  # the peer is gone, which its end of the connection tells as well

    def close(self) -> None:
        self.receiver.close_fds()
        self.connection.close()


class Keeper:
    """Serves ``listener``, an open unix socket.

    Args:
        cli: what runs a command's words.
        start_shim: what a shim runs.
        release: the directory of our release; commands of another one start cold.
        refuses: which command lines start cold as well.
        rehearse: what a spare goes through, so that a command finds memory of its own.
        lesson: the module to import for further commands like one that came.
    """

    def __init__(
        self, listener: socket.socket, cli: command.Entry, start_shim: StartShim, release: str,
        refuses: command.Refusal, rehearse: command.Rehearsal, lesson: Callable[[Sequence[str]], str],
    ) -> None:  # fmt: skip
        self._listener = listener
        self._cli = cli
        self._release = release
        self._refuses = refuses
        self._rehearse = rehearse
        self._lesson = lesson
        self._lessons: set[str] = set()
        self._learn_by = 0.0
        self._spare: Spare | None = None
        self._spare_until = 0.0
        self._is_practised = True
        """Whether requests have been gone through since the spare was forked."""
        self._poll = select.poll()
        self._shims = Shims(self._poll, start_shim)
        self._sessions: dict[int, _Session] = {}
        self._children: dict[int, _Session] = {}
        self._accept_at = 0.0
        """When connections are accepted again, after there was no descriptor for one; 0 while they are."""
        self._stopping = False
        self._wake, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _noted)
        for fd in (listener.fileno(), self._wake):
            self._poll.register(fd, select.POLLIN)

    def run(self) -> None:
        """Serve until SIGTERM. Commands and shims that run go on."""
        while not self._stopping:
            ready = self._poll.poll(self._patience())
            if not ready and not self._is_practised:
                self._practise()
                continue
            if not ready or time.monotonic() >= self._learn_by:
                self._learn()
            if not ready:
                self._keep_spare()
                self._dismiss_idle()
            for fd, _ in ready:
                if fd == self._listener.fileno():
                    self._accept()
                elif fd == self._wake:
                    self._noticed()
                elif fd in self._sessions:
                    self._attend(self._sessions[fd])
                elif fd in self._shims:
                    self._shims.attend(fd)
            self._drop_slow()
            self._accept_again()
        if self._spare is not None:
            self._spare.dismiss()

    def _patience(self) -> float | None:
        """Milliseconds until an unfinished request is dropped, or a spare made or dismissed; ``None`` for ever."""
        if not self._is_practised:
            return practice.quiet_milliseconds()
        now = time.monotonic()
        waiting = [
            each.deadline for each in self._sessions.values() if not each.pid and not each.has_shim
        ]
        if self._spare is not None:
            waiting.append(self._spare_until)
        if self._accept_at:
            waiting.append(self._accept_at)
        if self._lessons or (self._spare is None and now < self._spare_until):
            waiting.append(now + _QUIET_MILLISECONDS / 1000)
        return max(0.0, min(waiting) - now) * 1000 if waiting else None

    def _dismiss_idle(self) -> None:
        if self._spare is not None and time.monotonic() >= self._spare_until:
            self._spare.dismiss()
            self._spare = None

    def _learn(self) -> None:
        """Import what commands have asked for: the next ones find it. A spare from before is of no use any more."""
        if not self._lessons:
            return
        lessons = [name for name in self._lessons if name not in sys.modules]
        self._lessons.clear()
        for name in lessons:
            try:
                importlib.import_module(name)
            except (ImportError, OSError) as problem:
                _complain(f"{name}: {problem}")  # of a release that is being removed, perhaps
        if not lessons:
            return
        share()
        if self._spare is not None:
            self._spare.dismiss()
            self._spare = None

    def _keep_spare(self) -> None:
        if self._spare is None and time.monotonic() < self._spare_until:
            try:
                self._spare = Spare(self._cli, self._rehearse)
                self._is_practised = False
            except OSError:
                self._spare_until = (
                    0.0  # the next command finds out whether there are processes again
                )

    def _practise(self) -> None:
        self._is_practised = True
        try:
            with practice.caller() as connection:
                self._accept()
                self._serve(connection)
        except OSError:
            return  # no descriptors left: the next command finds out

    def _accept(self) -> None:
        try:
            connection = sockets.accept(self._listener)
        except Error as problem:
            _complain(str(problem))
            self._poll.modify(self._listener, 0)
            self._accept_at = time.monotonic() + sockets.PAUSE_SECONDS
            return
        if connection is not None:
            self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        uid = sockets.peer_uid(connection)
        session = _Session(connection)
        if uid not in (0, os.geteuid()) or len(self._sessions) >= _MAX_SESSIONS:
            session.say(_error(PermissionDenied("the keeper works for root only")))
            session.close()
            return
        self._sessions[connection.fileno()] = session
        self._poll.register(connection.fileno(), select.POLLIN)
        self._attend(session)  # most often the request is there already

    def _accept_again(self) -> None:
        if self._accept_at and time.monotonic() >= self._accept_at:
            self._accept_at = 0.0
            self._poll.modify(self._listener, select.POLLIN)

    def _noticed(self) -> None:
        for number in os.read(self._wake, 512):
            if number in (signal.SIGTERM, signal.SIGINT):
                self._stopping = True
        self._reap()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self._spare is not None and pid == self._spare.pid:
                self._spare.close()
                self._spare = None
            session = self._children.pop(pid, None)
            if session is not None:
                code = os.waitstatus_to_exitcode(status)
                session.say({"exit": code} if code >= 0 else {"signal": -code})
                self._end(session)
            # Its launcher may be gone by now: the command has told it of its end.
            self._keep_spare()

    def _attend(self, session: _Session) -> None:
        try:
            frames, gone = session.receiver.receive()
            for frame, raw in zip(frames, session.receiver.raw, strict=True):
                self._act(session, frame, raw)
        except (Error, OSError) as problem:
            session.say(_error(_refusal(problem)))
            gone = True
        if gone:
            self._hung_up(session)

    def _hung_up(self, session: _Session) -> None:
        if session.pid in self._children:
            # Whoever started the command is gone, as by kill -9: the command goes the same way.
            del self._children[session.pid]
            os.kill(session.pid, signal.SIGKILL)
        self._end(session)

    def _act(self, session: _Session, frame: dict[str, Any], raw: bytes) -> None:
        op = frame.get("op")
        if op == "signal" and session.pid in self._children:
            number = frame.get("signal")
            if number in _ALLOWED:
                os.kill(session.pid, int(number))
        elif op == "cli" and not session.pid and not session.has_shim:
            self._start_command(session, self._checked(session, frame), raw)
        elif op == practice.OP and not session.pid and not session.has_shim:
            self._checked(session, frame)
            practice.hand_on(raw, session.receiver.fds)
            session.say({"pid": 0})
            self._end(session)
        elif op == "shim" and not session.pid and not session.has_shim:
            self._start_shim(session, frame)
        else:
            raise InvalidArgument(f"the keeper does not do {op!r} here")

    def _checked(self, session: _Session, frame: dict[str, Any]) -> command.Request:
        """The command that is asked for, which may be run. Raises InvalidArgument."""
        request = command.Request(frame)
        count = len(session.receiver.fds)
        if count not in (4, 5):  # a line of its own is new
            raise InvalidArgument(f"5 descriptors are expected, {count} came")
        asked = request.release or self._release
        if asked != self._release and os.path.realpath(asked) != self._release:
            raise InvalidArgument(f"the keeper is of release {self._release}")
        if self._refuses(request.argv):
            raise InvalidArgument("this command has to be a child of its caller")
        return request

    def _start_command(self, session: _Session, request: command.Request, raw: bytes) -> None:
        self._spare_until = time.monotonic() + _SPARE_SECONDS
        self._note_lesson(self._lesson(request.argv))
        session.pid = pid = self._run(request, raw, session.receiver.fds)
        session.receiver.close_fds()
        self._children[pid] = session
        session.say({"pid": pid})

    def _note_lesson(self, name: str) -> None:
        if not name or name in sys.modules:
            return
        if not self._lessons:
            self._learn_by = time.monotonic() + _LEARN_SECONDS
        self._lessons.add(name)

    def _run(self, request: command.Request, raw: bytes, fds: list[int]) -> int:
        """Have the spare run a command, or fork now; the process id."""
        spare, self._spare = self._spare, None
        if spare is not None and spare.take(raw, fds):
            return spare.pid
        try:
            pid = os.fork()
        except OSError as problem:
            name = os.path.basename(request.argv[0])
            raise from_os(problem, f"start a process for {name}") from None
        if pid == 0:
            command.become(request, fds, self._cli)
        return pid

    def _start_shim(self, session: _Session, frame: dict[str, Any]) -> None:
        for key in ("namespace", "id", "bundle", "state"):
            if not isinstance(frame.get(key), str) or not frame[key]:
                raise InvalidArgument(f"a shim needs {key}")
        session.has_shim = True

        def answer(document: dict[str, Any]) -> None:
            session.say(document)
            self._end(session)

        self._shims.start(frame, answer)

    def _end(self, session: _Session) -> None:
        fd = session.connection.fileno()
        if self._sessions.pop(fd, None) is not None:
            self._poll.unregister(fd)
        session.close()

    def _drop_slow(self) -> None:
        now = time.monotonic()
        for session in list(self._sessions.values()):
            if not session.pid and not session.has_shim and session.deadline < now:
                self._end(session)


def _noted(_number: int, _frame: object) -> None:
    """The wake-up descriptor has told the loop."""


def _complain(line: str) -> None:
    sys.stderr.write(f"pinnace-keeper: {line}\n")


def _refusal(problem: Exception) -> Error:
    """What the peer is told. That processes, memory or descriptors are short the administrator is told, too."""
    found = described(problem)
    if isinstance(found, ResourceExhausted):
        _complain(str(found))
    return found


def _error(problem: Error) -> dict[str, Any]:
    return {"error": {"status": problem.grpc_status, "message": str(problem)}}


def share() -> None:
    """What is here now is shared with every fork: keep the collector from writing into it."""
    gc.collect()
    gc.freeze()


def notify_ready() -> None:
    """Tell systemd that we serve (sd_notify(3)), if it wants to know."""
    address = os.environ.pop("NOTIFY_SOCKET", "")
    if not address:
        return
    target = f"\0{address[1:]}" if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as messenger:
        try:
            messenger.sendto(b"READY=1", target)
        except OSError as problem:
            _complain(f"systemd does not listen: {problem}")
