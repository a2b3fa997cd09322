"""Creating containers: the side that stays outside.

``create`` leaves a process that waits, already inside, on a socket in the state directory;
``starting.start`` connects to it. That one connection also carries the answer: an error record when the
program could not be executed, the plain end of it (close-on-exec) when it was.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import Any

from pinnace.errors import FailedPrecondition, PermissionDenied
from pinnace.linux import caller, cgroups, proc
from pinnace.linux.cgroups.v1 import LegacyCgroup
from pinnace.linux.kernel import KERNEL, Kernel
from pinnace.runc import attending, hooks, limits, mapped, namespaces, native
from pinnace.runc import state as states
from pinnace.runc.channel import Channel
from pinnace.runc.launch import Launch
from pinnace.runc.made import DEFAULTS, Created, Options, Stdio
from pinnace.runc.namespaces import Plan
from pinnace.runc.process import Privileges
from pinnace.runc.state import ContainerState, Status
from pinnace.spec import runtime

_END_SECONDS = 10.0
_OUTSIDE = ("prestart", "createRuntime")
"""Hooks that run outside, while the process waits in its namespaces."""


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
        launch.no_devices = attending.forgo_devices(spec, self.cgroup, self.privileges)
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
        """Make what is left of the groups while the process is under way already, and hand it those that it waits for."""
        if self.pending is None:
            return
        self.pending.make()
        if isinstance(self.pending.group, LegacyCgroup):
            entry = self.pending.group.legacy_entry()
            channel.tell({"groups": True}, tuple(entry.fds()))
            entry.close()

    def _fork(self, launch: Launch, ours: Channel, *, held: bool) -> bool:
        """Fork what becomes the container: its first process at once, or the stage before that.

        Gives whether it is the native init; that one can be ``held``.
        """
        native.take_waiting(launch, own_network="network" in self.plan.own())
        if self.pending is not None and isinstance(self.pending.group, LegacyCgroup):
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
            if launch.entry is not None:
                launch.entry.close()
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
            attending.wait_for(channel, self.state.pid, time.monotonic() + attending.CREATE_SECONDS)
            record, fds = attending.heard(channel)
            if record is not None and "error" in record:
                raise attending.in_context(record)
            if record is None:
                raise attending.ended_early(self.cgroup)
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
                attending.deliver(self.kernel, record, self.state.pid, told, channel)
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
        attending.set_oom_score(pid, self.oom_score_adj)

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
        attending.kill_child(self.state.pid)
        if self.cgroup is not None:
            with contextlib.suppress(OSError):
                self.cgroup.kill()
                limits.remove(self.state, self.cgroup)
        self.state.remove()


def _wait_for_end(channel: Channel) -> None:
    """Have a native init that nobody knows the pid of end, and wait until it has: it sees the end of its line."""
    with contextlib.suppress(OSError):
        channel.socket.shutdown(socket.SHUT_WR)
        channel.socket.settimeout(_END_SECONDS)
        while channel.receive()[0] is not None:
            pass


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
