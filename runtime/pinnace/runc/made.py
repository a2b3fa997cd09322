"""What a process in a container is made with, and what is known of it then."""

from __future__ import annotations

from typing import Any, NamedTuple

from pinnace.linux import cgroups
from pinnace.runc.channel import Channel
from pinnace.runc.state import ContainerState

Stdio = tuple[int, int, int]


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
