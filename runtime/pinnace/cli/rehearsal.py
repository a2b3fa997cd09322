"""The motions of ``runc run`` and ``ctr run``, without any effect: what the keeper's spare goes through before it is needed.

Whatever Python touches it writes to, as it counts references; in a forked process each page costs a fault and a
copy the first time. Here the pages that a command needs are touched beforehand. A part that fails is a part that
costs a little later, nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from pinnace.cli import options, rehearsal_ctr, runc
from pinnace.cli.runc import foreground
from pinnace.errors import Error
from pinnace.linux import cgroups
from pinnace.linux.kernel import KERNEL
from pinnace.runc import limits, native, waiting
from pinnace.runc import state as states
from pinnace.runc.channel import Channel
from pinnace.runc.launch import Launch
from pinnace.runc.namespaces import Plan
from pinnace.runc.process import Privileges
from pinnace.runc.state import ContainerState
from pinnace.spec import oci, runtime

_USERS = frozenset(("run", "exec"))
"""Commands that start a process which is their own child."""
_NOBODY = (1 << 22) + 1
"""No process has that number (proc_sys_kernel(5), pid_max)."""


def run(is_wanted: Callable[[], bool]) -> None:
    """Go through them until a command is there. Nothing is written, mounted or made but pairs of sockets that are closed again."""
    for part in (native.prepare, run_of_runc, rehearsal_ctr.run):
        if is_wanted():
            return
        # Whatever it is: a spare that ends would be replaced by one that ends.
        with contextlib.suppress(Exception):
            part()


def run_of_runc() -> None:
    """Those of ``runc run``."""
    with contextlib.suppress(Error, OSError):
        options.parse(runc.APP, ["run", "rehearsal"])
        spec = oci.default_spec("rehearsal", "rehearsal")
        spec["process"]["args"] = ["true"]
        runtime.check(json.loads(json.dumps(spec)))
        state = ContainerState("rehearsal", "/", "/")
        limits.sought(spec, state)
        group = cgroups.find("/rehearsal")
        group.placed(spec["linux"].get("resources") or {})
        group.limits_devices()
        _describe(spec, group)
        json.dumps(state.oci())
        with foreground.forwarding(_NOBODY):
            pass
    with contextlib.suppress(Error, OSError):
        states.new(os.devnull, "rehearsal", "/")  # nothing can be made below what is no directory


def kept(argv: Sequence[str]) -> list[int]:
    """The descriptors of that, for a command that may use it; for any other it ends."""
    if os.path.basename(argv[0]) == "runc" and not _USERS.isdisjoint(argv):
        return waiting.descriptors()
    waiting.dismiss()
    return []


def _describe(spec: dict[str, Any], group: cgroups.Cgroup) -> None:
    """The steps of a container whose root is ours; nobody takes them."""
    ours, theirs = Channel.pair()
    with ours.socket, theirs.socket, socket.socket(socket.AF_UNIX) as listener:
        launch = Launch(
            KERNEL,
            {**spec, "root": {"path": "/"}},
            "/",
            theirs,
            Privileges(spec["process"], None),
            (0, 1, 2),
        )
        launch.plan, launch.listener, launch.cgroup = Plan(spec), listener, group
        launch.later_groups = 1
        native.creation(launch)
        ours.send({"created": True})
        theirs.receive()
