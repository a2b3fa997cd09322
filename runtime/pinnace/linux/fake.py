"""A kernel that only writes down what it is asked: the fake layer of unit tests."""

from __future__ import annotations

import ctypes
import errno
import os

from pinnace.linux.kernel import Kernel


class FakeKernel(Kernel):
    """Records every call in ``calls`` as (name, arguments...); ``failures`` names calls to refuse.

    ``openat2`` answers ENOSYS, so that the walk by descriptors, which needs no privilege, runs.
    """

    def __init__(self, failures: dict[str, int] | None = None) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.failures = failures or {}

    def names(self) -> list[str]:
        """The names of the recorded calls, in order."""
        return [str(call[0]) for call in self.calls]

    def _record(self, name: str, *arguments: object) -> None:
        self.calls.append((name, *arguments))
        if name in self.failures:
            number = self.failures[name]
            raise OSError(number, f"{name}: {os.strerror(number)}")

    def mount(self, source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
        self._record("mount", source, _readable(target), kind, flags, data)

    def unmount(self, target: str, flags: int = 0) -> None:
        self._record("unmount", target, flags)

    def mount_setattr(self, target: str, setting: int, clearing: int) -> None:
        self._record("mount_setattr", _readable(target), setting, clearing)

    def pivot_root(self, new_root: str, put_old: str) -> None:
        self._record("pivot_root", new_root, put_old)

    def unshare(self, flags: int) -> None:
        self._record("unshare", flags)

    def setns(self, fd: int, flags: int) -> None:
        self._record("setns", flags)

    def fork_into(self, cgroup_fd: int) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    def sethostname(self, name: str) -> None:
        self._record("sethostname", name)

    def setdomainname(self, name: str) -> None:
        self._record("setdomainname", name)

    def mknod(self, name: str, mode: int, device: int, dir_fd: int) -> None:
        self._record("mknod", name, mode, device)

    def prctl(self, option: int, first: int = 0, second: int = 0) -> int:
        self._record("prctl", option, first, second)
        return 1

    def new_session_keyring(self) -> None:
        self._record("new_session_keyring")

    def seccomp(
        self, operation: int, flags: int, argument: ctypes.Array[ctypes.c_char] | None
    ) -> int:
        self._record("seccomp", operation, flags)
        return 0

    def pidfd_getfd(self, pidfd: int, number: int) -> int:
        self._record("pidfd_getfd", number)
        return number

    def set_process_name(self, name: str) -> None:
        self._record("set_process_name", name)

    def capset(self, effective: int, permitted: int, inheritable: int) -> None:
        self._record("capset", effective, permitted, inheritable)

    def openat2(self, dir_fd: int, path: str, flags: int, mode: int, resolve: int) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), path)

    def cloexec_from(self, first: int) -> None:
        self._record("cloexec_from", first)


def _readable(target: str) -> str:
    """A /proc/self/fd/N target as the path it stands for."""
    if target.startswith("/proc/self/fd/"):
        return os.readlink(target)
    return target
