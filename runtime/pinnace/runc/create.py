"""Creating, starting and joining containers: the side that stays outside.

``create`` leaves a process that waits, already inside, on a socket in the state directory;
``start`` connects to it. That one connection also carries the answer: an error record when the
program could not be executed, the plain end of it (close-on-exec) when it was.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from typing import Any, NamedTuple

from pinnace.errors import Error, FailedPrecondition, PermissionDenied
from pinnace.linux import caller, cgroups, proc, procfs
from pinnace.linux.kernel import KERNEL, Kernel
from pinnace.runc import hooks, limits, mapped, namespaces, native
from pinnace.runc import state as states
from pinnace.runc.channel import Channel, verified
from pinnace.runc.launch import Launch
from pinnace.runc.namespaces import Plan
from pinnace.runc.process import Privileges
from pinnace.runc.state import ContainerState, Status
from pinnace.spec import runtime

Stdio = tuple[int, int, int]
_EXEC_SECONDS = 30
_CREATE_SECONDS = (
    600  # between two steps: one of them may copy a directory onto a tmpfs, on a slow disk
)
_LOOK_MILLISECONDS = 200
_END_SECONDS = 10.0
_FAILED = "unable to start container process: "
_OUTSIDE = ("prestart", "createRuntime")
"""Hooks that run outside, while the process waits in its namespaces."""


class Options(NamedTuple):
    """How to create a container or a further process, beyond what the configuration says.

    ``preserve_fds`` descriptors after the standard ones are passed on. ``config`` is the configuration's path when it
    is not the bundle's. ``cgroup`` names a group below the container's for a further process.
    """

    preserve_fds: int = 0
    config: str = ""
    cgroup_manager: str = ""
    cgroup: str = ""
    pivot: bool = True
    keyring: bool = True
    ignore_paused: bool = False
    spec: dict[str, Any] | None = None
    """What ``runtime.read`` gave of that configuration, from who has read it already."""
    oom_score_adj: int | None = None
    """For a process whose configuration has none; otherwise it has its creator's."""
    held: bool = False
    """The creator starts it with ``start_made``, or lets go of it with ``let_go``, before anything else; nobody else can."""


DEFAULTS = Options()


class Created(NamedTuple):
    """A process that exists; ``terminal`` is the descriptor of its master side, or None."""

    pid: int
    terminal: int | None
    state: ContainerState
    spec: dict[str, Any]
    warnings: tuple[str, ...] = ()
    cgroup: cgroups.Cgroup | None = None
    """Of a container that was made just now, when it has a control group of its own."""
    channel: Channel | None = None
    """The line to a process that is held."""
    is_ready: bool = True
    """Whether that process has nothing left to do but to execute its program; otherwise ``start_made`` waits for it."""


def create(
    identifier: str, bundle: str, *, state_root: str, stdio: Stdio = (0, 1, 2),
    options: Options = DEFAULTS, kernel: Kernel = KERNEL,
) -> Created:  # fmt: skip
    """Create container ``identifier`` from ``bundle``: everything up to the program itself.

    ``stdio`` are the descriptors the program gets; with a terminal they are not used. Raises
    AlreadyExists, InvalidArgument for a wrong configuration, Error with the reason when the kernel
    or the image stands in the way; nothing is left behind then.
    """
    bundle = os.path.abspath(bundle)
    config = os.path.abspath(options.config) if options.config else f"{bundle}/config.json"
    spec = runtime.read(config) if options.spec is None else options.spec
    if not spec.get("process"):
        raise FailedPrecondition("config.json has no process to create")
    linux = spec.get("linux") or {}
    devices = _net_devices(spec)
    plan = Plan(spec)
    try:
        if os.geteuid() != 0 and "user" not in plan.own():
            raise PermissionDenied(
                "containers without a user namespace are made by root",
                hint="use sudo, or a configuration as runc spec --rootless writes it",
            )
        privileges = Privileges(
            spec["process"], linux.get("seccomp"), own_users="user" in plan.own()
        )
        state = states.new(state_root, identifier, bundle)
        state.config, state.cgroup_manager = config, options.cgroup_manager
        launcher = _Creation(kernel, spec, state, plan, privileges)
        launcher.net_devices = devices
        try:
            return launcher.run(None if spec["process"].get("terminal") else stdio, options)
        except BaseException:
            launcher.undo()
            raise
        finally:
            if launcher.held is None:
                state.release()
    finally:
        plan.close()


def _net_devices(spec: dict[str, Any]) -> list[Any]:
    """The network devices that the container is to get. Raises InvalidArgument."""
    if not (spec.get("linux") or {}).get("netDevices"):
        return []
    from pinnace.runc import netdevices  # few containers have any

    return netdevices.wanted(spec)


class _Creation:
    """One creation in progress, so that it can be undone from wherever it failed."""

    def __init__(
        self, kernel: Kernel, spec: dict[str, Any], state: ContainerState, plan: Plan,
        privileges: Privileges,
    ) -> None:  # fmt: skip
        self.kernel = kernel
        self.spec = spec
        self.state = state
        self.plan = plan
        self.privileges = privileges
        self.cgroup: cgroups.Cgroup | None = None
        self.pending: limits.Pending | None = None
        self.net_devices: list[Any] = []
        self.oom_score_adj: int | None = None
        self.terminal: int | None = None
        self.stage_one = 0
        self.held: Channel | None = None

    def run(self, stdio: Stdio | None, options: Options) -> Created:
        state, spec = self.state, self.spec
        state.owner = os.geteuid()
        state.annotations = dict(spec.get("annotations") or {})
        state.created = time.time()
        state.rootfs = os.path.realpath(os.path.join(state.bundle, spec["root"]["path"]))
        self.pending = limits.begin(spec, state)
        self.cgroup = self.pending.group if self.pending else limits.make(spec, state)
        trees = mapped.open_trees(self.kernel, spec, state.bundle)
        ours, theirs = Channel.pair()
        listener = _listen(state.directory)
        launch = Launch(self.kernel, spec, state.bundle, theirs, self.privileges, stdio)
        launch.told = state.told(Status.CREATING)
        launch.trees = trees
        launch.plan, launch.listener, launch.cgroup = self.plan, listener, self.cgroup
        launch.preserved = options.preserve_fds
        launch.pivot, launch.keyring = options.pivot, options.keyring
        self.oom_score_adj = self.spec["process"].get("oomScoreAdj", options.oom_score_adj)
        launch.no_devices = _forgo_devices(spec, self.cgroup, self.privileges)
        is_attended = bool(self.net_devices) or hooks.named(spec, *_OUTSIDE)
        launch.is_attended = is_attended
        is_native = False
        try:
            is_native = self._fork(launch, ours, held=options.held)
            theirs.close()
            listener.close()
            if launch.entry is not None:
                launch.entry.close()
            self._let_in(ours)
            is_ready = self._attend(
                ours, until_known=is_native and options.held and not is_attended
            )
            state.save()
            if self.cgroup is not None and self.cgroup.placeholder is not None:
                self.cgroup.placeholder.release()  # the container's own process is there now
            # The process waits for this: without a state on disk it must not stay.
            if is_native and options.held:
                self.held = ours
            else:
                ours.send({"created": True})
        finally:
            if self.held is None:
                if is_native and not state.pid:
                    theirs.close()
                    _wait_for_end(ours)
                ours.close()
            mapped.close(trees)
            self._reap()
            launch.close_program()
        warnings = self.privileges.warnings
        return Created(
            state.pid, self.terminal, state, spec, warnings, self.cgroup, self.held, is_ready
        )

    def _let_in(self, channel: Channel) -> None:
        """Make the groups that a process waits for which is under way already, and hand them to it."""
        if self.pending is None:
            return
        self.pending.make()
        entry = self.pending.group.legacy_entry()
        channel.tell({"groups": True}, tuple(entry.fds()))
        entry.close()

    def _fork(self, launch: Launch, ours: Channel, *, held: bool) -> bool:
        """Fork what becomes the container: its first process at once, or the stage before that.

        Gives whether it is the native init; that one can be ``held``.
        """
        native.take_waiting(launch, own_network="network" in self.plan.own())
        if self.pending is not None:
            launch.entry = self.pending.group.unified_entry()
            launch.later_groups = self.pending.group.legacy_count()
        elif self.cgroup is not None:
            launch.entry = self.cgroup.entry()
        if (steps := native.creation(launch, held=held)) is not None:
            self.stage_one = native.spawn(launch, steps, self.plan.joined.values())
            return True
        if launch.waiting is not None:
            launch.waiting.dismiss()
        caller.need_own_child()
        if self.pending is not None:
            self.pending.make()
            launch.entry, launch.later_groups = self.pending.group.entry(), 0
            self.pending = None
        from pinnace.runc import init  # 3 ms that few configurations cost

        if not self.plan.takes_one_fork():
            self.stage_one = os.fork()
            if self.stage_one == 0:
                ours.close()
                init.run(init.stage_one, launch)
            return False
        entry = launch.entry
        with self.plan.around_fork(self.kernel):
            pid = os.fork() if entry is None else entry.fork(self.kernel)
            if pid == 0:
                ours.close()
                init.run(init.only_stage, launch)
        self._adopt(pid, is_inside=entry is None or entry.is_inside)
        return False

    def _attend(self, channel: Channel, *, until_known: bool) -> bool:
        """Answer what the stages ask for, until the container is ready; whether it is.

        The two stages speak on one line: what the second asks may overtake the first's report. With ``until_known`` only
        until the process is known and in its unified group: one that is in it from its birth asks for nothing else.
        """
        waiting = ready = False
        while not (ready and self.state.pid):
            _wait_for(channel, self.state.pid, time.monotonic() + _CREATE_SECONDS)
            record, fds = _heard(channel)
            if record is not None and "error" in record:
                raise _in_context(record)
            if record is None:
                raise _ended_early(self.cgroup)
            if "mappings" in record:
                namespaces.write_mappings(self.stage_one, self.spec.get("linux") or {})
                channel.send({"mapped": True})
            elif "pid" in record:
                self._adopt(int(record["pid"]), is_inside=bool(record["inside"]))
                if until_known and record["inside"]:
                    return ready
            elif "terminal" in record:
                self.terminal = fds[0]
            elif "listener" in record:
                told = {**self.state.oci(), "status": "creating"}
                _deliver(self.kernel, record, self.state.pid, told, channel)
            ready = ready or "ready" in record
            waiting = waiting or "waiting" in record
            if waiting and self.state.pid:
                self._give_net_devices()
                self._run_hooks()
                channel.send({"joined": True})
                waiting = False
        return True

    def _adopt(self, pid: int, *, is_inside: bool) -> None:
        """The init process exists: move it where its limits hold, if it is not there yet."""
        found = proc.stat(pid)
        self.state.pid = pid
        self.state.start_time = found.start_time if found else 0
        if self.cgroup is not None and not is_inside:
            self.cgroup.join_unified(pid)
        _set_oom_score(pid, self.oom_score_adj)

    def _give_net_devices(self) -> None:
        if self.net_devices:
            from pinnace.runc import netdevices

            netdevices.give(self.kernel, self.net_devices, self.state.pid)

    def _run_hooks(self) -> None:
        if hooks.named(self.spec, *_OUTSIDE):
            told = {**self.state.oci(), "status": "creating"}
            for name in _OUTSIDE:
                hooks.run(self.spec, name, told)

    def _reap(self) -> None:
        if not self.stage_one:
            return
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.stage_one, 0)

    def undo(self) -> None:
        """Take everything back; the first process, if it exists, is killed."""
        if self.terminal is not None:
            os.close(self.terminal)
        _kill_child(self.state.pid)
        if self.cgroup is not None:
            with contextlib.suppress(OSError):
                self.cgroup.kill()
                limits.remove(self.state, self.cgroup)
        self.state.remove()


def _heard(channel: Channel) -> tuple[dict[str, Any] | None, list[int]]:
    """The next record of a process that has more to say; None when it has ended."""
    try:
        return channel.receive()
    except ConnectionResetError:
        return None, []


def _ended_early(group: cgroups.Cgroup | None) -> Error:
    """A process that ended without a word, as one does that is killed."""
    is_starved = group is not None and group.oom_kills()
    hint = ", likely because the memory limit is too low" if is_starved else ""
    return Error(_FAILED + "it ended before it was ready" + hint)


def _wait_for_end(channel: Channel) -> None:
    """Have a native init that nobody knows the pid of end, and wait until it has: it sees the end of its line."""
    with contextlib.suppress(OSError):
        channel.socket.shutdown(socket.SHUT_WR)
        channel.socket.settimeout(_END_SECONDS)
        while channel.receive()[0] is not None:
            pass


def _deliver(
    kernel: Kernel, record: dict[str, Any], pid: int, told: dict[str, Any], channel: Channel
) -> None:
    from pinnace.runc import notify  # only for who has a supervisor

    notify.deliver(kernel, record, pid, told, channel)


def _set_oom_score(pid: int, score: int | None) -> None:
    if score is None:
        return
    try:
        procfs.write(f"{pid}/oom_score_adj", str(score))
    except PermissionError:
        raise Error(
            f"oomScoreAdj {score} is refused", hint="lowering it takes CAP_SYS_RESOURCE"
        ) from None


def _forgo_devices(
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


def _in_context(record: dict[str, Any]) -> Error:
    try:
        verified(record, "")
    except Error as problem:
        return type(problem)(_FAILED + problem.message)
    return Error(_FAILED + str(record))


def _listen(directory: str) -> socket.socket:
    """The start socket, for root only; reached through a descriptor, as paths may be too long."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with states.short(directory) as place:
        before = os.umask(0o177)
        try:
            listener.bind(f"{place}/{states.START_SOCKET}")
        finally:
            os.umask(before)
    listener.listen(16)  # whoever asks for the state connects as well
    return listener


def start(state_root: str, identifier: str) -> ContainerState:
    """Let the created container run its program.

    Raises NotFound, FailedPrecondition for any other state than created, Error when the program
    cannot be executed.
    """
    with states.hold(state_root, identifier) as state:
        spec = _configuration(state)
        status = state.status()
        if not status.can_start():
            raise FailedPrecondition(f"cannot start a container in the {status.value} state")
        _start(state, spec)
    _poststart(state, spec)
    return state


def start_made(made: Created) -> None:
    """The same for a container that this process has created just now."""
    if made.channel is None:
        with states.hold_again(made.state):
            _start(made.state, made.spec)
    else:
        try:
            is_told = made.channel.tell({"created": True})
            if not made.is_ready:
                _await_ready(made.channel, made)
            _started(made.channel, made.state, made.spec)
            if not is_told:
                raise _ended_early(made.cgroup)
        finally:
            let_go(made)
    _poststart(made.state, made.spec)


def _await_ready(channel: Channel, made: Created) -> None:
    """Wait until a process that was let go on early has done its part. Raises Error when it could not."""
    _wait_for(channel, made.pid, time.monotonic() + _CREATE_SECONDS)
    record, _ = _heard(channel)
    if record is None:
        raise _ended_early(made.cgroup)
    if "ready" not in record:
        raise _in_context(record)


def let_go(made: Created) -> None:
    """Hold a container no longer; one that was not started ends. A second call does nothing."""
    if made.channel is not None:
        made.channel.close()
        made.state.release()


def _poststart(state: ContainerState, spec: dict[str, Any]) -> None:
    # Not under the lock: a hook may well work on the container.
    if hooks.named(spec, "poststart"):
        try:
            hooks.run(spec, "poststart", state.told(Status.RUNNING))
        except Error:
            # runtime.md, "Lifecycle": a failure of these stops the container.
            with contextlib.suppress(ProcessLookupError):
                os.kill(state.pid, signal.SIGKILL)
            raise


def _configuration(state: ContainerState) -> dict[str, Any]:
    """What the container was made from; nothing when that has been removed since."""
    return runtime.read(state.config) if os.path.exists(state.config) else {}


def _start(state: ContainerState, spec: dict[str, Any]) -> None:
    try:
        connection = states.connect_start(state.directory, _EXEC_SECONDS)
    except OSError:
        raise FailedPrecondition("cannot start an already running container") from None
    with connection:
        connection.send(b"start")
        _started(Channel(connection), state, spec)


def _started(channel: Channel, state: ContainerState, spec: dict[str, Any]) -> None:
    """Wait until the process is the program, which closes the channel."""
    # Hooks have their own limits, or none; becoming the program takes no time.
    patient = hooks.named(spec, "startContainer")
    limit = float("inf") if patient else time.monotonic() + _EXEC_SECONDS
    _wait_for(channel, state.pid, limit)
    record, _ = channel.receive()
    if record is not None and "listener" in record:
        _deliver(KERNEL, record, state.pid, state.oci(), channel)
        _wait_for(channel, state.pid, limit)
        record, _ = channel.receive()
    if record is not None:
        raise _in_context(record)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{state.directory}/{states.START_SOCKET}")


def exec_(
    state_root: str, identifier: str, process: dict[str, Any], *, stdio: Stdio = (0, 1, 2),
    options: Options = DEFAULTS, kernel: Kernel = KERNEL,
) -> Created:  # fmt: skip
    """Run a further process in a created or running container.

    Raises NotFound, FailedPrecondition when the container does not run, InvalidArgument for a
    wrong process, Error when the program cannot be executed.
    """
    runtime.check_process(process)
    with states.hold(state_root, identifier, shared=True) as state:
        return _Joining(kernel, state, process, options).run(stdio)


class _Joining:
    """A further process on its way into a container."""

    def __init__(
        self, kernel: Kernel, state: ContainerState, process: dict[str, Any], options: Options
    ) -> None:
        status = state.status()
        if not (status.can_exec() or (options.ignore_paused and status is Status.PAUSED)):
            raise FailedPrecondition(f"cannot exec in a {status.value} container")
        self.kernel = kernel
        self.state = state
        self.options = options
        self.spec = runtime.read(state.config)
        self.process = process
        if process.get("capabilities") is None:
            # As runc: a process that says nothing of capabilities has those of the container.
            own = self.spec.get("process") or {}
            self.process = {**process, "capabilities": own.get("capabilities")}

    def run(self, stdio: Stdio) -> Created:
        process, state = self.process, self.state
        linux = self.spec.get("linux") or {}
        held = namespaces.of_process(state.pid)
        privileges = Privileges(process, linux.get("seccomp"), own_users="user" in held)
        if not proc.alive(state.pid, state.start_time):
            raise FailedPrecondition("cannot exec in a stopped container")
        ours, theirs = Channel.pair()
        shape = {**self.spec, "process": process}
        streams = None if process.get("terminal") else stdio
        launch = Launch(self.kernel, shape, state.bundle, theirs, privileges, streams)
        launch.preserved = self.options.preserve_fds
        entry: cgroups.Entry | None = None
        if state.cgroup_path:
            group = limits.of(state, self.options.cgroup)
            _forgo_devices(self.spec, group, privileges)
            launch.entry = entry = group.entry()
        native.take_waiting(launch, own_network="network" in held)
        if (steps := native.joining(launch, held)) is not None:
            stage_one = native.spawn(launch, steps, held.values())
        else:
            if launch.waiting is not None:
                launch.waiting.dismiss()
            caller.need_own_child()
            from pinnace.runc import init

            stage_one = os.fork()
            if stage_one == 0:
                ours.close()
                init.run(lambda it: init.exec_stage_one(it, held), launch)
        try:
            theirs.close()
            if entry is not None:
                entry.close()
            return self._attend(ours)._replace(warnings=privileges.warnings)
        finally:
            ours.close()
            for fd in held.values():
                os.close(fd)
            launch.close_program()
            if stage_one:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(stage_one, 0)

    def _attend(self, channel: Channel) -> Created:
        """Follow the process until it is the program. The container may send it signals meanwhile."""
        pid, terminal = 0, None
        ready = False
        deadline = time.monotonic() + _EXEC_SECONDS
        try:
            while True:
                _wait_for(channel, pid, deadline)
                record, fds = channel.receive()
                if record is None and ready:
                    return Created(pid, terminal, self.state, self.spec)
                if record is None:
                    raise Error(_FAILED + "it ended before it was ready")
                if "error" in record:
                    raise _in_context(record)
                if "pid" in record:
                    pid = int(record["pid"])
                    if self.state.cgroup_path and not record["inside"]:
                        limits.join_beside(self.state, pid, self.options.cgroup)
                    score = self.process.get("oomScoreAdj", self.options.oom_score_adj)
                    _set_oom_score(pid, score)
                    channel.send({"joined": True})
                elif "terminal" in record:
                    terminal = fds[0]
                elif "listener" in record:
                    _deliver(self.kernel, record, pid, self.state.oci(), channel)
                ready = ready or "ready" in record
        except BaseException:
            if terminal is not None:
                os.close(terminal)
            _kill_child(pid)
            raise


def _kill_child(pid: int) -> None:
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _wait_for(channel: Channel, pid: int, deadline: float) -> None:
    """Wait until there is something to receive; whoever asks must not be held up by a container.

    Raises FailedPrecondition when ``pid`` was stopped, or takes too long.
    """
    poll = select.poll()
    poll.register(channel.socket, select.POLLIN)
    while not poll.poll(_LOOK_MILLISECONDS):
        found = proc.stat(pid) if pid else None
        if found is not None and found.state == "T":
            raise FailedPrecondition(_FAILED + "something in the container stopped it")
        if time.monotonic() > deadline:
            raise FailedPrecondition(_FAILED + "it does not become ready")
