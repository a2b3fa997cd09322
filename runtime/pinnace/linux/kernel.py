"""The system-call seam: everything the runtime does to the kernel that ``os`` does not offer.

``Kernel`` is the real thing; ``pinnace.linux.fake.FakeKernel`` has the same methods and records
them, so that the order of privileged steps is tested without root. Every failure is an
``OSError`` naming the call and the thing.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from pinnace.linux import fork, libc

CLONE_NEWTIME = 0x80
CLONE_FS = 0x200
CLONE_NEWNS = 0x20000
CLONE_NEWCGROUP = 0x2000000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

NAMESPACES: dict[str, tuple[int, str]] = {
    "user": (CLONE_NEWUSER, "user"),
    "pid": (CLONE_NEWPID, "pid"),
    "network": (CLONE_NEWNET, "net"),
    "ipc": (CLONE_NEWIPC, "ipc"),
    "uts": (CLONE_NEWUTS, "uts"),
    "cgroup": (CLONE_NEWCGROUP, "cgroup"),
    "time": (CLONE_NEWTIME, "time"),
    "mount": (CLONE_NEWNS, "mnt"),
}
"""OCI namespace type: clone(2) flag and the name in /proc/PID/ns, in the order they are joined."""

PR_SET_PDEATHSIG = 1
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

_CAPABILITY_VERSION_3 = 0x20080522
_CLOSE_RANGE_CLOEXEC = 4
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000


class Kernel:
    """Calls without memory of their own; one instance, ``KERNEL``, serves everybody."""

    def mount(self, source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
        """mount(2)."""
        libc.call("mount", source, target, kind, flags, data or None, about=target)

    def unmount(self, target: str, flags: int = 0) -> None:
        """umount2(2)."""
        libc.call("umount2", target, flags, about=target)

    def mount_setattr(self, target: str, setting: int, clearing: int) -> None:
        """mount_setattr(2), recursive; kernel 5.12 and later."""
        attributes = ctypes.create_string_buffer(struct.pack("=4Q", setting, clearing, 0, 0), 32)
        libc.syscall(
            "mount_setattr", libc.SYS_MOUNT_SETATTR, -100, target, _AT_RECURSIVE, attributes, 32,
            about=target,
        )  # fmt: skip

    def pivot_root(self, new_root: str, put_old: str) -> None:
        """pivot_root(2)."""
        libc.call("pivot_root", new_root, put_old, about=new_root)

    def unshare(self, flags: int) -> None:
        """unshare(2)."""
        libc.call("unshare", flags, about=_flag_names(flags))

    def setns(self, fd: int, flags: int) -> None:
        """setns(2) with a namespace's descriptor, or a pidfd and several flags (kernel 5.8)."""
        libc.call("setns", fd, flags, about=_flag_names(flags))

    def fork_into(self, cgroup_fd: int) -> int:
        """fork(2) whose child is born in a version 2 control group; see ``fork.into_cgroup``."""
        return fork.into_cgroup(cgroup_fd)

    def sethostname(self, name: str) -> None:
        """sethostname(2)."""
        encoded = name.encode()
        libc.call("sethostname", encoded, len(encoded), about=name)

    def setdomainname(self, name: str) -> None:
        """setdomainname(2)."""
        encoded = name.encode()
        libc.call("setdomainname", encoded, len(encoded), about=name)

    def mknod(self, name: str, mode: int, device: int, dir_fd: int) -> None:
        """mknodat(2)."""
        os.mknod(name, mode, device, dir_fd=dir_fd)

    def prctl(self, option: int, first: int = 0, second: int = 0) -> int:
        """prctl(2) with integer arguments, passed as C ``unsigned long``."""
        words = [ctypes.c_ulong(word) for word in (first, second, 0, 0)]
        result: int = libc.prctl(option, *words)
        if result == -1:
            raise libc.fail("prctl", f"option {option}")
        return result

    def new_session_keyring(self) -> None:
        """keyctl(2), KEYCTL_JOIN_SESSION_KEYRING without a name: let go of the caller's keys.

        A kernel without keys has none to keep; one that forbids the call (a seccomp filter)
        forbids it to our children, too.
        """
        try:
            libc.syscall("keyctl", libc.SYS_KEYCTL, 1, 0, about="session keyring")
        except OSError as problem:
            if problem.errno not in (errno.ENOSYS, errno.EPERM):
                raise

    def seccomp(
        self, operation: int, flags: int, argument: ctypes.Array[ctypes.c_char] | None
    ) -> int:
        """seccomp(2); Linux 3.17."""
        return libc.syscall("seccomp", libc.SYS_SECCOMP, operation, flags, argument)

    def pidfd_getfd(self, pidfd: int, number: int) -> int:
        """pidfd_getfd(2): a copy, close-on-exec, of another process's descriptor; Linux 5.6."""
        return libc.syscall("pidfd_getfd", libc.SYS_PIDFD_GETFD, pidfd, number, 0, about=number)

    def set_process_name(self, name: str) -> None:
        """PR_SET_NAME: what ps shows; 15 bytes at most."""
        libc.prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0)

    def capset(self, effective: int, permitted: int, inheritable: int) -> None:
        """capset(2) of the calling thread; arguments are bit masks by capability number."""
        header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
        low = (effective & 0xFFFFFFFF, permitted & 0xFFFFFFFF, inheritable & 0xFFFFFFFF)
        high = (effective >> 32, permitted >> 32, inheritable >> 32)
        libc.call("capset", header, struct.pack("=6I", *low, *high), about="capabilities")

    def openat2(self, dir_fd: int, path: str, flags: int, mode: int, resolve: int) -> int:
        """openat2(2); raises OSError with ENOSYS before kernel 5.6."""
        how = ctypes.create_string_buffer(struct.pack("=3Q", flags | os.O_CLOEXEC, mode, resolve))
        return libc.syscall(
            "openat2", libc.SYS_OPENAT2, dir_fd, path, how, 24, about=path
        )  # fmt: skip

    def cloexec_from(self, first: int) -> None:
        """Mark every descriptor from ``first`` on close-on-exec.

        close_range(2) with CLOEXEC needs kernel 5.11; before it, /proc/self/fd is walked.
        """
        try:
            libc.syscall(
                "close_range", libc.SYS_CLOSE_RANGE, first, 0x7FFFFFFF, _CLOSE_RANGE_CLOEXEC
            )
        except OSError:
            for name in os.listdir("/proc/self/fd"):
                if int(name) >= first:
                    _set_cloexec(int(name))


def _set_cloexec(fd: int) -> None:
    try:
        os.set_inheritable(fd, False)
    except OSError as problem:
        if problem.errno != 9:  # EBADF: the directory's own descriptor, closed by now
            raise


def _flag_names(flags: int) -> str:
    names = [kind for kind, (flag, _) in NAMESPACES.items() if flags & flag]
    return "+".join(names) + " namespace" if names else hex(flags)


KERNEL = Kernel()
