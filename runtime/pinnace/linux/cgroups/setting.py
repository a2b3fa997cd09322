"""One value for one control file, and writing a list of them in whatever order the kernel wants."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from typing import NamedTuple

from pinnace.errors import FailedPrecondition, InvalidArgument


class Unsupported(FailedPrecondition):
    """A limit was asked for that this kernel, as booted, cannot enforce."""


class Setting(NamedTuple):
    """``value`` for control file ``file`` of ``controller``; nothing is read or written yet."""

    controller: str
    file: str
    value: str
    is_unlimited: bool = False
    """It asks for no limit: where there is no controller, that is so already."""
    optional: bool = False
    """A further file for the same limit, which older kernels do not have."""
    instead: tuple[tuple[str, str], ...] = ()
    """Other (file, value) pairs that mean the same, tried when ``file`` does not exist."""
    ignored: str = ""
    """Some kernels take the value and do nothing with it; then this is the error."""
    refused: str = ""
    """Why no kernel with this version of control groups can do it."""


_HINTS = {
    "memory.memsw.limit_in_bytes": "add swapaccount=1 to the kernel command line and reboot",
    "memory.swap.max": "this kernel needs swap support (CONFIG_SWAP)",
    "cpu.rt_runtime_us": "this kernel needs CONFIG_RT_GROUP_SCHED",
    "cpu.rt_period_us": "this kernel needs CONFIG_RT_GROUP_SCHED",
    "cpu.cfs_burst_us": "kernel 5.14 and later have it",
    "cpu.max.burst": "kernel 5.14 and later have it",
    "cpu.idle": "kernel 5.15 and later have it",
    "io.weight": "it takes the bfq scheduler or CONFIG_BLK_CGROUP_IOCOST",
    "blkio.weight": "it takes the bfq scheduler",
}
_BOOT = "add cgroup_enable={0} to the kernel command line (/boot/firmware/cmdline.txt on a Raspberry Pi) and reboot"
_BOOT_CONTROLLERS = ("memory", "cpuset")


def without_controller(controller: str, file: str) -> Unsupported:
    """The error for ``file`` on a kernel that runs without its controller."""
    hint = _BOOT.format(controller) if controller in _BOOT_CONTROLLERS else ""
    return Unsupported(
        f"{file} cannot be set: this kernel runs without the {controller} cgroup controller",
        hint=hint,
    )


class Writer:
    """Writes control files of one directory, each value in one system call; what it opened is closed with the context."""

    __slots__ = ("_directory", "_open")

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._open: dict[str, int] = {}

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._open.values():
            os.close(fd)

    def write(self, name: str, value: str) -> None:
        """Write ``value`` to file ``name``. Raises OSError naming it."""
        path = f"{self._directory}/{name}"
        fd = self._open.get(name, -1)
        if fd < 0:
            fd = self._open[name] = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        except OSError as problem:
            raise OSError(problem.errno, f"write {value!r}: {problem.strerror}", path) from None


def write(directory: str, name: str, value: str) -> None:
    """Write a control file in one system call. Raises OSError naming it."""
    with Writer(directory) as writer:
        writer.write(name, value)


def put(directory: str, setting: Setting) -> None:
    """Write one setting in ``directory``; an empty one means that the controller is not there.

    Raises Unsupported, and OSError as the kernel refuses the value.
    """
    if setting.refused:
        raise Unsupported(setting.refused)
    if not directory:
        if setting.is_unlimited or setting.optional:
            return
        raise without_controller(setting.controller, setting.file)
    for file, value in ((setting.file, setting.value), *setting.instead):
        try:
            write(directory, file, value)
        except FileNotFoundError:
            continue
        if setting.ignored and int(_read(directory, file) or 0) > int(value) >= 0:
            raise Unsupported(setting.ignored)
        return
    if not (setting.is_unlimited or setting.optional):
        raise Unsupported(
            f"{setting.file} cannot be set: this kernel has no such file of the {setting.controller} controller",
            hint=_HINTS.get(setting.file, ""),
        )


def put_all(placed: Iterable[tuple[str, Setting]], *, best_effort: bool = False) -> list[str]:
    """Write all, each in its directory; what could not be enforced, if that is allowed.

    Some files limit what others may hold (memory and memory+swap, quota and period), one way when
    limits grow and the other way when they shrink: a value that is refused is tried again after the
    others. Raises Unsupported, InvalidArgument and FailedPrecondition naming file and value.
    """
    left_out: list[str] = []
    waiting = list(placed)
    while waiting:
        refused: list[tuple[str, Setting, OSError]] = []
        for directory, setting in waiting:
            try:
                put(directory, setting)
            except Unsupported as problem:
                if not best_effort:
                    raise
                left_out.append(str(problem))
            except OSError as problem:
                refused.append((directory, setting, problem))
        if len(refused) == len(waiting):
            raise _explained(*refused[0])
        waiting = [(directory, setting) for directory, setting, _ in refused]
    return left_out


def _explained(directory: str, setting: Setting, problem: OSError) -> Exception:
    """The kernel's refusal in words."""
    what = f"{setting.file} cannot be set to {setting.value}"
    if problem.errno == errno.EBUSY and setting.controller == "memory":
        return FailedPrecondition(f"{what}: more is in use ({_usage(directory)} bytes)")
    if problem.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return FailedPrecondition(
            f"{what}: {os.strerror(problem.errno)}",
            hint="limits take a control group that is this user's",
        )
    if problem.errno in (errno.EINVAL, errno.ERANGE, errno.ENODEV, errno.ENOSPC):
        return InvalidArgument(f"{what}: {os.strerror(problem.errno)}")
    return FailedPrecondition(f"{what}: {os.strerror(problem.errno or 0)}")


def _usage(directory: str) -> str:
    return (
        _read(directory, "memory.current") or _read(directory, "memory.usage_in_bytes") or "unknown"
    )


def _read(directory: str, name: str) -> str:
    try:
        with open(f"{directory}/{name}", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
