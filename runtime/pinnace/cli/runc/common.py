"""What the commands of ``runc`` share."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from pinnace.errors import InvalidArgument, PermissionDenied
from pinnace.linux import sealed
from pinnace.runc import container

if TYPE_CHECKING:
    from pinnace.cli.options import Call

ID_MISSING = "container id must be provided"


def container_of(call: Call) -> tuple[str, str]:
    """The container id, the only argument, and the state directory, as ``container`` takes them."""
    return call.only_argument(ID_MISSING), call.text("root")


def secure() -> None:
    """Before a process enters a container: be root, and run from where no container can write."""
    if os.geteuid() != 0:
        raise PermissionDenied("containers are made by root", hint="use sudo")
    sealed.run_from_memory()


def finish(call: Call, made: container.Created) -> None:
    """Write the pid file and hand the terminal over, as a new process's maker was asked to.

    Raises InvalidArgument when there is a terminal and nobody to take it.
    """
    path = call.text("console-socket")
    if made.console is not None:
        if not path:
            raise InvalidArgument("cannot allocate tty without --console-socket in detached mode")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
            try:
                sock.connect(path)
                socket.send_fds(sock, [b"/dev/ptmx"], [made.console])
            except OSError as problem:
                raise InvalidArgument(f"console socket {path}: {problem.strerror}") from None
        os.close(made.console)
    if call.text("pid-file"):
        write_pid(call.text("pid-file"), made.pid)


def write_pid(path: str, pid: int) -> None:
    """Write a pid file, whole or not at all."""
    temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}")
    try:
        with open(temporary, "w", encoding="ascii") as file:
            file.write(str(pid))
        os.rename(temporary, path)
    except OSError as problem:
        raise InvalidArgument(f"cannot write pid file {path}: {problem.strerror}") from None
