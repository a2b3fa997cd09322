"""A container's terminal: made in its own devpts, the master handed out to whoever attends it."""

from __future__ import annotations

import fcntl
import os
import struct
import termios

from pinnace.errors import Error
from pinnace.linux import resolve
from pinnace.linux.kernel import Kernel
from pinnace.linux.mount import MS_BIND
from pinnace.runc.paths import Root

_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441
_PTMX = os.makedev(5, 2)


def open_pair(kernel: Kernel, root_fd: int) -> tuple[int, int]:
    """A new terminal of the devpts at /dev/pts below ``root_fd``: (master, slave).

    The slave comes from the master itself (TIOCGPTPEER), not from a path the container could have
    prepared; the multiplexer is checked to be one for the same reason.
    """
    flags = os.O_RDWR | os.O_NOCTTY
    try:
        master = resolve.open_in_root(root_fd, "/dev/pts/ptmx", flags, kernel=kernel)
    except FileNotFoundError:
        raise Error("a terminal needs a devpts mounted on /dev/pts") from None
    found = os.fstat(master)
    if found.st_rdev != _PTMX:
        os.close(master)
        raise Error("/dev/pts/ptmx is not a terminal multiplexer")
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    slave = fcntl.ioctl(master, _TIOCGPTPEER, flags | os.O_CLOEXEC)
    return master, slave


def bind_console(kernel: Kernel, root: Root, slave: int) -> None:
    """Show the terminal as /dev/console."""
    with root.file("/dev/console") as place:
        kernel.mount(f"/proc/self/fd/{slave}", place, "", MS_BIND)


def take(slave: int) -> None:
    """Make it this session's controlling terminal, and standard input, output and error."""
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for fd in (0, 1, 2):
        os.dup2(slave, fd)


def resize(fd: int, width: int, height: int) -> None:
    """Set the window size, in characters; programs in it get SIGWINCH."""
    size = struct.pack("4H", height & 0xFFFF, width & 0xFFFF, 0, 0)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, size)
