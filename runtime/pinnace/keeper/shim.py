"""The shim: one process a container, parent of all its processes, which outlives daemon and keeper.

It listens on ``<state>/shim.sock`` and answers requests one after another; the methods are those below named
``do_*``. A connection that has sent ``subscribe`` is told of every exit, after the exit has been written
to ``<state>/exit.json``.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

from pinnace.errors import (
    AlreadyExists,
    Error,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unimplemented,
)
from pinnace.keeper import checkpoints, cold, doze, sockets, wanted
from pinnace.keeper.connection import Connection
from pinnace.keeper.loop import READ, WRITE, Loop
from pinnace.keeper.process import (
    CREATED,
    PAUSED,
    RUNNING,
    STOPPED,
    Process,
    record_exit,
    status_of,
)
from pinnace.keeper.protocol import VERSION
from pinnace.keeper.root import Root
from pinnace.keeper.stdio import Stdio
from pinnace.keeper.wanted import Wanted
from pinnace.linux import sealed
from pinnace.linux.kernel import KERNEL, PR_SET_CHILD_SUBREAPER
from pinnace.linux.mount import Mount
from pinnace.runc import control, create, joining, starting
from pinnace.runc.made import Created, Options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pinnace.linux.cgroups.oom import OomWatch

_SIGKILL = 9
_END_SECONDS = 10.0
_LONELY_SECONDS = 20.0
"""How long a shim without a container waits for somebody: a daemon that was killed after asking for it never comes."""


def serve_frame(request: Mapping[str, Any], ready: Callable[[str], None]) -> bool:
    """Be a container's shim, as ``request`` has it, until it is shut down; ``ready`` is told the socket's path.

    True: this process may be the shim of another container. Raises InvalidArgument, and AlreadyExists when a shim listens there.
    """
    place = wanted.parse(request)
    address = _address(place.state)
    listener = sockets.listen(address)
    settle(place.state)
    ready(address)
    shim = Shim(place, listener)
    shim.run()
    shim.close()
    return True


def settle(state: str) -> None:
    """A name in ps, a log for what goes wrong, and the container's orphans as our children."""
    os.chdir("/")
    os.umask(0o022)
    KERNEL.prctl(PR_SET_CHILD_SUBREAPER, 1)
    KERNEL.set_process_name("pinnace-shim")
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    log = os.open(os.path.join(state, "shim.log"), flags, 0o600)
    for target in (1, 2):
        os.dup2(log, target, inheritable=True)
    os.close(log)


def _address(state: str) -> str:
    return os.path.join(state, "shim.sock")


class Shim:
    """The processes, the connections, and the loop that serves them."""

    def __init__(self, place: Wanted, listener: socket.socket) -> None:
        self._wanted = place
        self._listener = listener
        self._runtime_root = os.path.join(place.state, "runc")
        self._root = Root(os.path.join(place.bundle, "rootfs"))
        self._created = False
        self._made: Created | None = None
        self._oom: OomWatch | None = None
        self._processes: dict[str, Process] = {}
        self._connections: dict[int, Connection] = {}
        self._loop = Loop(self._child_ended)
        listener.setblocking(False)
        self._loop.watch(listener.fileno(), READ, self._accept)

    def run(self) -> None:
        self._wait_for_company()
        self._loop.quiet(doze.seconds(), self._doze)
        self._loop.run()

    def close(self) -> None:
        """Let go of everything, after :meth:`run`. The daemon takes the end of its connection for the end of it all."""
        self._root.let_go()
        for connection in self._connections.values():
            connection.close()
        self._listener.close()
        self._loop.close()

    # --- dozing ------------------------------------------------------------------------------

    def _doze(self) -> None:
        """Become small until something happens; back at once when something is under way."""
        self._loop.take_signals(False)
        try:
            self._loop.reap()
            state = self._describe()
            if state is not None:
                subscribers = [(fd, each.subscribed) for fd, each in self._connections.items()]
                answers = self.do_state({}), {"version": VERSION}
                doze.fall_asleep(state, answers, subscribers)
        except OSError as problem:
            sys.stderr.write(f"pinnace-shim: stays awake: {problem}\n")
            self._loop.quiet(0, self._doze)
        finally:
            self._loop.take_signals(True)

    def _describe(self) -> dict[str, Any] | None:
        """Everything about this shim but its connections, for :meth:`restore`; ``None`` while it has something to do."""
        running = [each for each in self._processes.values() if each.pid and each.status != STOPPED]
        stdio = {name: each.stdio.describe() for name, each in self._processes.items()}
        is_busy = any(each.is_busy for each in self._connections.values())
        if not running or is_busy or any(each is None for each in stdio.values()):
            return None
        oom = None if self._oom is None else [self._oom.fd, self._oom.seen]
        watched = [] if oom is None else [f"w{oom[0]}"]
        return {
            "wanted": self._wanted,
            "listener": self._listener.fileno(),
            "processes": [[each.remember(), stdio[name]] for name, each in self._processes.items()],
            "oom": oom,
            "items": [
                *(f"p{each.pid}" for each in running),
                *watched,
                *(item for each in self._processes.values() for item in each.stdio.items()),
            ],
            "descriptors": [
                *([] if oom is None else oom[:1]),
                *(fd for each in self._processes.values() for fd in each.stdio.descriptors()),
            ],
        }

    @classmethod
    def restore(cls, state: Mapping[str, Any], connections: doze.Connections) -> Shim:
        """The shim that :meth:`_describe` told of."""
        shim = cls(Wanted(*state["wanted"]), socket.socket(fileno=state["listener"]))
        for remembered, stdio in state["processes"]:
            process = Process.recalled(remembered, Stdio.restore(shim._loop, stdio))
            shim._processes[process.exec_id] = process
        shim._created = True
        if state["oom"] is not None:
            shim._oom = control.watched_oom(shim._runtime_root, shim._wanted.id, *state["oom"])
            shim._loop.watch(shim._oom.fd, READ, shim._memory_event)
        for fd, subscribed in connections:
            shim._connect(socket.socket(fileno=fd)).subscribed = subscribed
        shim._loop.take_signals(True)
        return shim

    def _wait_for_company(self) -> None:
        if not self._processes and not self._connections:
            self._loop.alarm(_LONELY_SECONDS, self._give_up)

    def _give_up(self) -> None:
        """Nobody came: go, and leave nothing, as nobody knows of us. The directory may be another shim's by now."""
        if self._processes or self._connections:
            return
        self._clean()
        state = self._wanted.state
        with contextlib.suppress(OSError), sockets.alone_in(state):
            if sockets.is_ours(_address(state)):
                for name in os.listdir(state):
                    os.unlink(os.path.join(state, name))
                os.rmdir(state)
        self._loop.stop()

    # --- the container's life ----------------------------------------------------------------

    def do_create(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Mount the root file system and create the container; ``{"pid"}``."""
        if "" in self._processes:
            raise AlreadyExists(f"container {self._wanted.id} is already created")
        process = self._add("", params, None)
        mounts = [Mount(**entry) for entry in params.get("rootfs") or ()]
        self._created = True
        try:
            process.checkpoint = str(params.get("checkpoint") or "")
            if process.checkpoint:
                self._root.mount(mounts)
                return {"pid": 0}
            streams = self._streams(process)
            options = wanted.options(params.get("options") or {})
            self._made = self._create(mounts, streams, options)
            self._has_process(process, self._made)
            self._watch_memory()
        except BaseException:
            self._processes.pop("", None)
            process.stdio.close()
            self._clean()
            raise
        return {"pid": process.pid}

    def _create(
        self, mounts: list[Mount], streams: tuple[int, int, int], options: Options
    ) -> Created:
        """Mount the root file system and create the container."""
        self._root.mount(mounts)
        return create.create(
            self._wanted.id, self._wanted.bundle, state_root=self._runtime_root, stdio=streams,
            options=options,
        )  # fmt: skip

    def _watch_memory(self) -> None:
        """Tell whoever listens when the container's memory runs out."""
        self._oom = control.watch_oom(self._runtime_root, self._wanted.id)
        if self._oom is not None:
            self._loop.watch(self._oom.fd, READ, self._memory_event)

    def _memory_event(self, _: int) -> None:
        if self._oom is not None and self._oom.happened():
            self._publish({"event": "oom"})

    def do_start(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Let a created process run; ``{"pid"}``."""
        process = self._process(params)
        if process.status != CREATED:
            raise FailedPrecondition(f"cannot start a {process.status} process")
        if process.exec_id:
            self._require_running()
            streams = self._streams(process)
            try:
                made = self._exec(process, streams)
            except BaseException:
                # Clients read to the end before they delete what did not start.
                process.stdio.close()
                raise
            self._has_process(process, made)
        elif process.checkpoint:
            self._restore(process)
        elif self._made is not None:
            starting.start_made(self._made)
        else:
            starting.start(self._runtime_root, self._wanted.id)
        process.status = RUNNING
        return {"pid": process.pid}

    def _restore(self, process: Process) -> None:
        """Make the container from a checkpoint; it runs then."""
        from pinnace.runc import criu

        if process.terminal:
            raise Unimplemented("a container with a terminal can't be restored")
        streams = self._streams(process)
        try:
            made = criu.restore(
                KERNEL, self._runtime_root, self._wanted.id, self._wanted.bundle,
                process.checkpoint, checkpoints.flags({"exit": True}),
                work=self._criu_logs(), stdio=streams,
            )  # fmt: skip
        except BaseException:
            process.stdio.close()
            raise
        process.pid = made.pid
        self._watch_memory()

    def _criu_logs(self) -> str:
        """The images may be gone when somebody wants to read what was wrong."""
        return os.path.join(self._wanted.state, "criu")

    def do_checkpoint(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Have criu write the container to the directory ``path``; with the option ``exit`` it ends then."""
        path, options = params.get("path"), params.get("options")
        if not isinstance(path, str) or not path.startswith("/") or not isinstance(options, dict):
            raise InvalidArgument("path must be an absolute path, options an object")
        from pinnace.runc import criu

        criu.checkpoint(
            self._runtime_root, self._wanted.id, path, checkpoints.flags(options),
            work=str(options.get("work_path") or self._criu_logs()),
        )  # fmt: skip
        return {}

    def _exec(self, process: Process, streams: tuple[int, int, int]) -> Created:
        """Run a further process."""
        spec = dict(process.spec or {})
        options = Options(oom_score_adj=wanted.oom_score_adj())
        return joining.exec_(
            self._runtime_root, self._wanted.id, spec, stdio=streams, options=options
        )

    def do_exec(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Note a further process; :meth:`do_start` starts it."""
        exec_id, spec = params.get("exec_id"), params.get("process")
        if not isinstance(exec_id, str) or not exec_id or not isinstance(spec, dict):
            raise InvalidArgument("exec needs exec_id and process")
        if exec_id in self._processes:
            raise AlreadyExists(f"id {exec_id}: already exists")
        self._require_running()
        self._add(exec_id, params, {**spec, "terminal": bool(params.get("terminal"))})
        return {}

    def do_kill(self, params: Mapping[str, Any]) -> dict[str, Any]:
        process, number = self._process(params), params.get("signal")
        if not isinstance(number, int) or not 0 <= number < 65:
            raise InvalidArgument(f"invalid signal {number!r}")
        if process.status == STOPPED or not process.pid:
            raise NotFound("process already finished")
        if process.exec_id:
            # Still our child, not yet waited for: the pid is nobody else's.
            os.kill(process.pid, number)
        else:
            everyone = bool(params.get("all"))
            control.kill(self._runtime_root, self._wanted.id, number, everyone=everyone)
        return {}

    def do_delete(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Remove the container, whose process has ended or never ran; how it ended.

        With ``last`` nothing will be asked of the shim any more: it says that it has ``ended``, and ends.
        """
        process = self._process({"exec_id": ""})
        if process.status not in (CREATED, STOPPED):
            raise FailedPrecondition(f"the container is {process.status}")
        self._end(process)
        is_last = bool(params.get("last"))
        self._clean(lazily=is_last)
        for other in self._processes.values():
            other.stdio.close()
        self._processes.clear()
        if not is_last:
            return process.result()
        self._loop.stop()
        return {**process.result(), "ended": True}

    def do_delete_process(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Forget a further process that has ended or never ran; how it ended."""
        process = self._process(params)
        if not process.exec_id or process.status not in (CREATED, STOPPED):
            raise FailedPrecondition(f"process {process.exec_id!r} is {process.status}")
        self._process({"exec_id": ""}).stdio.adopt(process.stdio.retire())
        del self._processes[process.exec_id]
        return process.result()

    def do_shutdown(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """End the shim, and what is left of its container."""
        process = self._processes.get("")
        if process is not None:
            self._end(process)
        self._clean()
        self._loop.stop()
        return {}

    # --- while it runs -----------------------------------------------------------------------

    def do_state(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {"processes": [process.describe() for process in self._processes.values()]}

    def process(self, exec_id: str) -> dict[str, Any]:
        """One process of :meth:`do_state`; raises NotFound."""
        return self._process({"exec_id": exec_id}).describe()

    def do_pids(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {"pids": control.pids(self._runtime_root, self._wanted.id)}

    def do_resize(self, params: Mapping[str, Any]) -> dict[str, Any]:
        width, height = params.get("width"), params.get("height")
        if not isinstance(width, int) or not isinstance(height, int):
            raise InvalidArgument("width and height must be numbers")
        self._process(params).stdio.resize(width, height)
        return {}

    def do_close_io(self, params: Mapping[str, Any]) -> dict[str, Any]:
        self._process(params).stdio.close_input()
        return {}

    def do_pause(self, params: Mapping[str, Any]) -> dict[str, Any]:
        self._require_running()
        control.pause(self._runtime_root, self._wanted.id)
        self._processes[""].status = PAUSED
        return {}

    def do_resume(self, params: Mapping[str, Any]) -> dict[str, Any]:
        if self._process({"exec_id": ""}).status != PAUSED:
            raise FailedPrecondition("the container is not paused")
        control.resume(self._runtime_root, self._wanted.id)
        self._processes[""].status = RUNNING
        return {}

    def do_stats(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return control.stats(self._runtime_root, self._wanted.id)

    def do_update(self, params: Mapping[str, Any]) -> dict[str, Any]:
        resources = params.get("resources")
        if not isinstance(resources, dict):
            raise InvalidArgument("resources must be an object")
        control.update(self._runtime_root, self._wanted.id, resources)
        return {}

    # --- processes ---------------------------------------------------------------------------

    def _add(self, exec_id: str, params: Mapping[str, Any], spec: dict[str, Any] | None) -> Process:
        stdio = Stdio(self._loop, params)
        process = Process(exec_id, stdio, bool(params.get("terminal")), spec)
        self._processes[exec_id] = process
        return process

    def _streams(self, process: Process) -> tuple[int, int, int]:
        """What the runtime gives the process; with a terminal these are not used."""
        return (0, 1, 2) if process.terminal else process.stdio.open()

    def _has_process(self, process: Process, made: Created) -> None:
        process.pid = made.pid
        if made.terminal is not None:
            process.stdio.attach_console(made.terminal)

    def _process(self, params: Mapping[str, Any]) -> Process:
        exec_id = params.get("exec_id") or ""
        process = self._processes.get(exec_id)
        if process is None:
            raise NotFound(f"process {exec_id!r} does not exist" if exec_id else "no container yet")
        return process

    def _require_running(self) -> None:
        status = self._process({"exec_id": ""}).status
        if status != RUNNING:
            raise FailedPrecondition(f"the container is {status}, it must be running")

    def _child_ended(self, pid: int, wait_status: int) -> None:
        for process in self._processes.values():
            if process.pid == pid and process.status != STOPPED:
                break
        else:
            return  # an orphan of the container, or a helper
        self._memory_event(READ)  # which may be why: that comes first
        process.status = STOPPED
        process.exit_status = status_of(wait_status)
        process.exited_at = time.time_ns()
        process.stdio.ended()
        if not process.exec_id:
            record_exit(self._wanted.state, process)
        self._publish(process.exit_event())

    def _end(self, process: Process) -> None:
        """Kill a process that still lives and wait for it, within a time limit."""
        if not process.pid:
            return
        limit = time.monotonic() + _END_SECONDS
        while process.status != STOPPED and time.monotonic() < limit:
            try:
                os.kill(process.pid, _SIGKILL)
            except ProcessLookupError:
                break
            time.sleep(0.001)
            self._loop.reap()

    def _clean(self, *, lazily: bool = False) -> None:
        """Remove what was made for the container; each part whether or not another fails."""
        if not self._created:
            return
        self._created = False
        if self._oom is not None:
            self._memory_event(READ)  # what happened may not have been told yet
            self._loop.forget(self._oom.fd)
            self._oom.close()
            self._oom = None
        try:
            self._delete()
        finally:
            self._root.unmount(lazily=lazily)

    def _delete(self) -> None:
        """Remove the container. What its process has left behind, or another command has done to it, takes the long way."""
        made, self._made = self._made, None
        if made is not None:
            with contextlib.suppress(Error, OSError):
                control.delete_made(made.state, made.spec, made.cgroup)
                return
        control.delete(self._runtime_root, self._wanted.id, force=True)

    # --- connections -------------------------------------------------------------------------

    def _accept(self, _: int) -> None:
        try:
            sock = sockets.accept(self._listener)
        except Error as problem:
            sys.stderr.write(f"pinnace-shim: {problem}\n")
            self._loop.change(self._listener.fileno(), 0)
            self._loop.alarm(sockets.PAUSE_SECONDS, self._accept_again)
            return
        if sock is None:
            return
        if sockets.peer_uid(sock) not in (0, os.geteuid()):
            sock.close()
            return
        self._connect(sock)

    def _accept_again(self) -> None:
        self._loop.change(self._listener.fileno(), READ)

    def _connect(self, sock: socket.socket) -> Connection:
        sock.setblocking(False)
        connection = self._connected(sock)
        self._connections[sock.fileno()] = connection
        self._loop.watch(sock.fileno(), READ, lambda events: self._ready(connection, events))
        return connection

    def _connected(self, sock: socket.socket) -> Connection:
        return Connection(sock, self._loop)

    def _ready(self, connection: Connection, events: int) -> None:
        connection.flush()
        if events & ~WRITE:
            self._readable(connection)

    def _readable(self, connection: Connection) -> None:
        try:
            requests, gone = connection.receive()
            for request in requests:
                self._answer(connection, request)
        except Error:
            gone = True  # a peer that talks nonsense
        if gone:
            self._loop.forget(connection.sock.fileno())
            self._connections.pop(connection.sock.fileno(), None)
            connection.close()
            self._wait_for_company()

    def _answer(self, connection: Connection, request: Any) -> None:
        number, method = request.get("id"), request.get("method")
        if method == "subscribe":
            connection.subscribed = True
            connection.send({"id": number, "result": {"version": VERSION}})
            return
        handler = getattr(self, f"do_{method}", None) if isinstance(method, str) else None
        try:
            if handler is None:
                raise InvalidArgument(f"unknown method {method!r}")
            answer: dict[str, Any] = {"id": number, "result": handler(request)}
        except Error as problem:
            answer = _error(number, problem.grpc_status, str(problem))
        except (OSError, TypeError, ValueError, KeyError) as problem:
            answer = _error(number, Error.grpc_status, f"{method}: {problem}")
        except Exception as problem:
            # A defect of ours: the container goes on, and shim.log says where it was.
            import traceback

            traceback.print_exc()
            answer = _error(number, Error.grpc_status, f"internal error: {problem!r}")
        connection.send(answer)

    def _publish(self, event: dict[str, Any]) -> None:
        for connection in list(self._connections.values()):
            if connection.subscribed:
                connection.send(event)


def _error(number: object, status: int, message: str) -> dict[str, Any]:
    return {"id": number, "error": {"status": status, "message": message}}


def wake(words: list[str]) -> None:
    """Be a shim again that has dozed: what ``runtime/native/doze.c`` executes."""
    sealed.run_from_memory()  # it does from the start, and forks are to know
    KERNEL.set_process_name("pinnace-shim")
    Shim.restore(*doze.woken(words)).run()


def main(argv: list[str]) -> int:
    """The cold start, without a keeper: ``python -m pinnace.keeper.shim --namespace N --id I ...``."""
    request = {argv[i].removeprefix("--"): argv[i + 1] for i in range(0, len(argv) - 1, 2)}
    return cold.start(lambda ready: serve_frame(request, ready))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
