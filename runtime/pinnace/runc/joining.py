"""A further process in a container."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

from pinnace.errors import Error, FailedPrecondition
from pinnace.linux import caller, cgroups, proc
from pinnace.linux.kernel import KERNEL, Kernel
from pinnace.runc import attending, limits, namespaces, native
from pinnace.runc import state as states
from pinnace.runc.channel import Channel
from pinnace.runc.launch import Launch
from pinnace.runc.made import DEFAULTS, Created, Options, Stdio
from pinnace.runc.process import Privileges
from pinnace.runc.state import ContainerState, Status
from pinnace.spec import runtime


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
            attending.forgo_devices(self.spec, group, privileges)
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
        deadline = time.monotonic() + attending.EXEC_SECONDS
        try:
            while True:
                attending.wait_for(channel, pid, deadline)
                record, fds = channel.receive()
                if record is None and ready:
                    return Created(pid, terminal, self.state, self.spec)
                if record is None:
                    raise Error(attending.FAILED + "it ended before it was ready")
                if "error" in record:
                    raise attending.in_context(record)
                if "pid" in record:
                    pid = int(record["pid"])
                    if self.state.cgroup_path and not record["inside"]:
                        limits.join_beside(self.state, pid, self.options.cgroup)
                    score = self.process.get("oomScoreAdj", self.options.oom_score_adj)
                    attending.set_oom_score(pid, score)
                    channel.send({"joined": True})
                elif "terminal" in record:
                    terminal = fds[0]
                elif "listener" in record:
                    attending.deliver(self.kernel, record, pid, self.state.oci(), channel)
                ready = ready or "ready" in record
        except BaseException:
            if terminal is not None:
                os.close(terminal)
            attending.kill_child(pid)
            raise
