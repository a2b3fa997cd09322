"""What the commands of ``runc`` share: their flags, where state is kept, what a new process is announced with."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING, Any

from pinnace.cli.options import Flag, integer, switch, text
from pinnace.errors import InvalidArgument
from pinnace.linux import caller, sealed
from pinnace.runc import container
from pinnace.spec import runtime

if TYPE_CHECKING:
    from pinnace.cli.options import Call

ID_MISSING = "container id must be provided"
_MANAGERS = ("", "cgroupfs", "systemd", "disabled")

NEW_PROCESS: tuple[Flag, ...] = (
    text("console-socket", about="unix socket that gets the master of the process's terminal"),
    text("pidfd-socket", about="unix socket that gets a pidfd of the process"),
    text("pid-file", about="file to write the process's id to"),
    integer("preserve-fds", about="pass on this many descriptors after the standard ones"),
)
NEW_CONTAINER: tuple[Flag, ...] = (
    text("bundle", "b", default=".", about="the directory with config.json"),
    text("config", "f", about="another configuration than the bundle's config.json"),
    *NEW_PROCESS,
    switch("no-pivot", about="move the root instead of pivot_root, for a root in the initial ramdisk"),
    switch("no-new-keyring", about="keep the caller's session keyring"),
)  # fmt: skip


def state_root(call: Call) -> str:
    """Where state is kept: ``--root``, or a directory of the user's own when that is not root."""
    own = os.environ.get("XDG_RUNTIME_DIR")
    if os.geteuid() and own and not call.given("root"):
        return f"{own}/pinnace/runc"
    return os.path.abspath(call.text("root"))


def container_of(call: Call) -> tuple[str, str]:
    """The container id, the only argument, and the state directory, as ``container`` takes them."""
    return call.only_argument(ID_MISSING), state_root(call)


def secure() -> None:
    """Before a process enters a container: run from where no container can write."""
    sealed.run_from_memory()


def warn(made: container.Created) -> container.Created:
    """Say what a container was not given, and hand it on."""
    for message in made.warnings:
        sys.stderr.write(f"runc: warning: {message}\n")
    return made


def options_of(call: Call) -> container.Options:
    """The options that flags ask for; raises InvalidArgument for what does not fit together."""
    manager = call.text("cgroup-manager")
    if manager not in _MANAGERS:
        raise InvalidArgument(
            f"unknown cgroup manager {manager!r}", hint="there are cgroupfs, systemd and disabled"
        )
    if call.on("systemd-cgroup"):
        manager = "systemd"
    if call.text("rootless") not in ("auto", "true", "false"):
        raise InvalidArgument(
            f"--rootless {call.text('rootless')}: true, false or auto is expected"
        )
    return container.Options(
        preserve_fds=preserved(call),
        config=call.text("config") if call.has("config") else "",
        cgroup_manager=manager,
        cgroup=call.text("cgroup") if call.has("cgroup") else "",
        pivot=not (call.has("no-pivot") and call.on("no-pivot")),
        keyring=not (call.has("no-new-keyring") and call.on("no-new-keyring")),
        ignore_paused=call.has("ignore-paused") and call.on("ignore-paused"),
    )


def preserved(call: Call) -> int:
    """How many descriptors are passed on; raises InvalidArgument when one of them is not open."""
    count = call.integer("preserve-fds")
    if count < 0:
        raise InvalidArgument(f"--preserve-fds {count}: a number of descriptors is expected")
    for fd in range(3, 3 + count):
        try:
            os.fstat(fd)
        except OSError:
            raise InvalidArgument(f"--preserve-fds {count}: descriptor {fd} is not open") from None
    return count


def bundle_of(call: Call) -> tuple[str, dict[str, Any]]:
    """The bundle's directory, and the configuration that flags name."""
    bundle = os.path.abspath(call.text("bundle"))
    return bundle, runtime.read(call.text("config") or f"{bundle}/config.json")


def check_terminal(call: Call, process: dict[str, Any], *, detached: bool) -> None:
    """A terminal needs who attends it; raises InvalidArgument for a socket without use, or none."""
    terminal, path = bool(process.get("terminal")), call.text("console-socket")
    if detached and terminal and not path:
        raise InvalidArgument("cannot allocate tty without --console-socket in detached mode")
    if path and not (detached and terminal):
        raise InvalidArgument("--console-socket is of no use without a terminal in detached mode")
    if terminal and not detached and not os.isatty(0):
        raise InvalidArgument("a terminal was asked for, and standard input is not one")


def leave_behind(process: dict[str, Any]) -> None:
    """What is started stays when the command has ended, as a child of who typed it."""
    caller.leave_behind(natively=not process.get("terminal"))


def announce(call: Call, made: container.Created) -> None:
    """Tell of a new process as its maker was asked to: pid file, pidfd, and terminal when detached."""
    if call.text("pidfd-socket"):
        pidfd = os.pidfd_open(made.pid)
        try:
            _hand_over(call.text("pidfd-socket"), "pidfd", pidfd)
        finally:
            os.close(pidfd)
    if made.console is not None and call.text("console-socket"):
        _hand_over(call.text("console-socket"), "/dev/ptmx", made.console)
        os.close(made.console)
    if call.text("pid-file"):
        write_pid(call.text("pid-file"), made.pid)


def _hand_over(path: str, name: str, fd: int) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.connect(path)
            socket.send_fds(sock, [name.encode()], [fd])
        except OSError as problem:
            raise InvalidArgument(f"socket {path}: {problem.strerror}") from None


def write_pid(path: str, pid: int) -> None:
    """Write a pid file, whole or not at all."""
    temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}")
    try:
        with open(temporary, "w", encoding="ascii") as file:
            file.write(str(pid))
        os.rename(temporary, path)
    except OSError as problem:
        raise InvalidArgument(f"cannot write pid file {path}: {problem.strerror}") from None
