"""Flags that several verbs share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.cli.containers import RUNTIME, SNAPSHOTTER
from pinnace.cli.options import Flag, integer, number, switch, text, texts
from pinnace.cli.stdio import FIFO_DIRECTORY
from pinnace.errors import Unimplemented

if TYPE_CHECKING:
    from pinnace.cli.options import Call

SNAPSHOTTER_FLAG = text(
    "snapshotter", env="CONTAINERD_SNAPSHOTTER", default=SNAPSHOTTER,
    about="which snapshotter holds the file systems",
)  # fmt: skip
SYNC_FS = switch("sync-fs", about="have the unpacked files on the disk before going on")
PLATFORM = text("platform", about="use the image's part for this platform (linux/arm/v6)")

NO_PIVOT = switch("no-pivot", about="leave the host's root by chroot instead of pivot_root")
RUNTIME_FLAGS: tuple[Flag, ...] = (
    text("runtime", default=RUNTIME, about="the runtime's name"),
    text("runtime-config-path", about="a configuration file for the runtime"),
    text("runc-binary", about="the program that is runc, for a containerd that starts one"),
    text("runc-root", about="where that runc keeps its state"),
    switch("runc-systemd-cgroup", about="have systemd make the control groups"),
)
"""Which runtime, and how it is set up."""

CONTAINER: tuple[Flag, ...] = (
    SNAPSHOTTER_FLAG,
    texts("snapshotter-label", about="label of the new snapshot (KEY=VALUE)"),
    text("config", "c", about="take the whole runtime specification from this file"),
    text("cwd", about="working directory of the process"),
    texts("env", about="set an environment variable (NAME=VALUE)"),
    text("env-file", about="set environment variables from a file, one NAME=VALUE a line"),
    texts("label", about="label of the container (KEY=VALUE)"),
    texts("annotation", about="annotation of the runtime specification (KEY=VALUE)"),
    texts("mount", about="a further mount (type=bind,src=/tmp,dst=/host,options=rbind:ro)"),
    switch("net-host", about="use the host's network"),
    switch("privileged", about="lift the restrictions: capabilities, devices, hidden paths"),
    switch("read-only", about="make the root file system read-only"),
    *RUNTIME_FLAGS,
    text("sandbox", about="make it a member of this sandbox"),
    switch("tty", "t", about="give the process a terminal"),
    texts("with-ns", about="join a namespace that exists (TYPE:PATH, network:/run/netns/x)"),
    text("pid-file", about="write the task's process id to this file"),
    switch("allow-new-privs", about="let the process gain privileges (set-user-id programs)"),
    integer("memory-limit", about="most memory the container may use, in bytes"),
    texts("device", about="a device node to add, or a directory of them"),
    texts("cap-add", about="add a capability (CAP_NET_ADMIN)"),
    texts("cap-drop", about="drop a capability (CAP_MKNOD)"),
    switch("seccomp", about="filter system calls; takes --seccomp-profile"),
    text("seccomp-profile", about="filter system calls by this profile (runtime specification form)"),
    text("apparmor-profile", about="confine it by this AppArmor profile, which the kernel has"),
    text("apparmor-default-profile", about="refused: no profile is made here"),
    texts("gpus", about="refused: no board has a GPU that containers share"),
    text("blockio-config-file", about="refused: classes of block I/O are not supported"),
    text("blockio-class", about="refused: classes of block I/O are not supported"),
    text("rdt-class", about="refused: no board has Intel RDT"),
    NO_PIVOT,
    text("rootfs-propagation", about="how mounts travel between its root and the host (rslave, rshared)"),
    text("hostname", about="the container's host name"),
    text("user", "u", about="run as this user (NAME|UID[:GROUP|GID])"),
    switch("rootfs", about="the first argument is a directory with a root file system, not an image"),
    number("cpus", about="most processor time, in processors (0.5)"),
    integer("cpu-shares", about="weight of processor time against other containers (1024 is usual)"),
    integer("cpu-quota", about="processor time per period, in microseconds", default=-1),
    integer("cpu-period", about="length of a period, in microseconds"),
    text("cpuset-cpus", about="processors it may run on (0-2,4)"),
    text("cpuset-mems", about="memory nodes it may use"),
    text("rlimit-nofile", about="limit of open files (SOFT or SOFT:HARD)"),
    text("cgroup", about='path of its cgroup; "" for none'),
)  # fmt: skip
"""What ``run`` and ``containers create`` take for the container."""

STDIO: tuple[Flag, ...] = (
    switch("null-io", about="connect the process's streams to nothing"),
    text("log-uri", about="where its output goes instead of here (file:///var/log/x)"),
    text("fifo-dir", default=FIFO_DIRECTORY, about="where the FIFOs of its streams are made"),
)
"""Where the streams of a new process go."""


def refuse(call: Call, why: str, *names: str) -> None:
    """Refuse flags that exist elsewhere and cannot work here; raises :class:`Unimplemented`."""
    for name in names:
        if call.given(name):
            raise Unimplemented(f"--{name}: {why}")
