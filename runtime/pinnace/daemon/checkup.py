"""What a machine needs to run containers, looked at: ``pinnaced doctor``.

Each check reads facts and says what to do when something is missing; none changes anything. Files are read below
``root``, which tests point elsewhere. Sources: Documentation/admin-guide/cgroup-v2.rst, kernel namespaces(7),
Documentation/filesystems/overlayfs.rst; what Raspberry Pi kernels lack: raspberrypi/linux#6980.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from pinnace.errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pinnace.daemon.config import Config

OK, WARNING, ERROR = "ok", "warning", "error"
_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
_CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")
_LEGACY_NAMES = {"io": "blkio"}
_LEAST_FREE = 512 << 20
_LEAST_SHARE = 0.05
_PLUGINS = ("bridge", "firewall", "host-local", "loopback", "portmap")
_OLDEST_CLOCK = (
    1_767_225_600  # 2026-01-01: certificates of registries begin later than older clocks are
)
_SECONDS = 2.0


class Finding(NamedTuple):
    """One thing that was looked at: how it is, and what to do when that is not well."""

    name: str
    status: str
    found: str
    remedy: str = ""


class Machine:
    """The machine as its files tell; ``root`` is where they are read below."""

    def __init__(self, config: Config, root: str = "/") -> None:
        self.config = config
        self._root = root.rstrip("/")

    def path(self, name: str) -> str:
        return f"{self._root}{name}"

    def exists(self, name: str) -> bool:
        return os.path.exists(self.path(name))

    def read(self, name: str) -> str:
        """A small file's text; ``""`` when it is not there."""
        try:
            with open(self.path(name), encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return ""


def examine(config: Config, root: str = "/") -> list[Finding]:
    """Everything, in the order of what stands on what."""
    machine = Machine(config, root)
    found: list[Finding] = []
    for check in CHECKS:
        try:
            found += check(machine)
        except OSError as problem:
            found.append(Finding(check.__name__, ERROR, f"could not be looked at: {problem}"))
    return found


def user(_: Machine) -> Iterator[Finding]:
    if os.geteuid() == 0:
        yield Finding("user", OK, "root")
    else:
        yield Finding("user", ERROR, f"uid {os.geteuid()}", "run it as root: sudo pinnaced doctor")


def kernel(machine: Machine) -> Iterator[Finding]:
    release = os.uname().release
    yield Finding("kernel", OK, f"{release} {os.uname().machine}, Python {sys.version.split()[0]}")
    missing = [name for name in _NAMESPACES if not machine.exists(f"/proc/self/ns/{name}")]
    if missing:
        yield Finding("namespaces", ERROR, f"missing: {', '.join(missing)}", "a kernel with CONFIG_NAMESPACES and all below it")  # fmt: skip
    else:
        yield Finding("namespaces", OK, ", ".join(_NAMESPACES))
    if "Seccomp:" in machine.read("/proc/self/status"):
        yield Finding("seccomp", *_libseccomp())
    else:
        yield Finding("seccomp", WARNING, "the kernel has none", "a kernel with CONFIG_SECCOMP_FILTER; without it profiles are refused")  # fmt: skip


def _libseccomp() -> tuple[str, str, str]:
    from pinnace.linux.seccomp.library import Library

    try:
        version = Library().version()
    except Error as problem:
        return WARNING, str(problem), "apt install libseccomp2; without it profiles are refused"
    return OK, f"libseccomp {version}", ""


def cgroups(machine: Machine) -> Iterator[Finding]:
    controllers = machine.read("/sys/fs/cgroup/cgroup.controllers")
    if machine.exists("/sys/fs/cgroup/cgroup.controllers"):
        version, present = "version 2", set(controllers.split())
    else:
        version = "version 1"
        present = {
            name
            for name in _CONTROLLERS
            if machine.exists(f"/sys/fs/cgroup/{_LEGACY_NAMES.get(name, name)}")
        }
        if not present:
            yield Finding("cgroups", ERROR, "none mounted at /sys/fs/cgroup", "mount -t cgroup2 none /sys/fs/cgroup")  # fmt: skip
            return
    yield Finding("cgroups", OK, f"{version}: {', '.join(sorted(present)) or 'no controllers'}")
    for name in _CONTROLLERS:
        if name in present:
            continue
        remedy = f"a kernel with the {name} controller; limits of it are refused"
        if name == "memory":
            remedy = "add cgroup_enable=memory to /boot/firmware/cmdline.txt (one line) and reboot; memory limits are refused until then"  # fmt: skip
        yield Finding(f"cgroup {name}", WARNING, "missing", remedy)


def clock(machine: Machine) -> Iterator[Finding]:
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < _OLDEST_CLOCK:
        yield Finding("clock", ERROR, f"{shown} is in the past", "set it: timedatectl set-ntp true; certificates look invalid until then")  # fmt: skip
    elif machine.exists("/run/systemd/timesync") and not machine.exists("/run/systemd/timesync/synchronized"):  # fmt: skip
        yield Finding("clock", WARNING, f"{shown}, not synchronized yet", "timedatectl timesync-status tells why")  # fmt: skip
    else:
        yield Finding("clock", OK, shown)


def disk(machine: Machine) -> Iterator[Finding]:
    wanted = machine.config.text("root")
    place = machine.path(wanted)
    while not os.path.exists(place):
        place = os.path.dirname(place)
    facts = os.statvfs(place)
    free, total = facts.f_bavail * facts.f_frsize, facts.f_blocks * facts.f_frsize
    shown = f"{wanted}: {free >> 20} MiB of {total >> 20} MiB free"
    if facts.f_flag & os.ST_RDONLY:
        yield Finding("disk", ERROR, f"{wanted} is read-only", "mount it writable, or set root in config.toml (an overlay root is switched off with raspi-config)")  # fmt: skip
    elif free < _LEAST_FREE or free < total * _LEAST_SHARE:
        yield Finding("disk", WARNING, shown, "ctr images prune --all, ctr content prune references, or a larger disk")  # fmt: skip
    else:
        yield Finding("disk", OK, shown)
    if facts.f_files and facts.f_favail < facts.f_files * _LEAST_SHARE:
        yield Finding("inodes", WARNING, f"{facts.f_favail} of {facts.f_files} free", "ctr images prune --all, or a file system with more")  # fmt: skip


def storage(machine: Machine) -> Iterator[Finding]:
    driver = machine.config.text("snapshotter")
    if driver != "overlayfs":
        yield Finding("storage driver", OK, driver)
        return
    if "overlay" not in machine.read("/proc/filesystems").split():
        modules = f"/lib/modules/{os.uname().release}"
        if "/overlay.ko" not in machine.read(f"{modules}/modules.dep") + machine.read(f"{modules}/modules.builtin"):  # fmt: skip
            yield Finding("storage driver", ERROR, "overlayfs: the kernel has none", 'a kernel with CONFIG_OVERLAY_FS, or snapshotter = "native" in config.toml')  # fmt: skip
            return
    below = _file_system(machine)
    if below == "overlay":
        yield Finding("storage driver", ERROR, "overlayfs: root is on an overlay itself", 'put root on a disk, or set snapshotter = "native"')  # fmt: skip
    elif below in ("vfat", "exfat", "ntfs", "nfs", "nfs4", "fuseblk"):
        yield Finding("storage driver", ERROR, f"overlayfs does not work on {below}", 'put root on ext4, xfs, btrfs or f2fs, or set snapshotter = "native"')  # fmt: skip
    else:
        yield Finding("storage driver", OK, f"overlayfs on {below or 'an unknown file system'}")


def _file_system(machine: Machine) -> str:
    """The type of the file system that the store's directory is on (proc_pid_mountinfo(5))."""
    wanted = machine.config.text("root")
    best, kind = "", ""
    for line in machine.read("/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        words = before.split(" ")
        if len(words) < 5 or not after:
            continue
        point = words[4]
        inside = wanted == point or wanted.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, after.split(" ")[0]
    return kind


def network(machine: Machine) -> Iterator[Finding]:
    tools = [name for name in ("nft", "iptables") if shutil.which(name)]
    if tools:
        yield Finding("packet filter", OK, ", ".join(tools))
    else:
        yield Finding("packet filter", WARNING, "neither nft nor iptables", "apt install nftables; ports are not published without it")  # fmt: skip
    folders = [machine.config.text("cni_bin_dir")] if machine.config.text("cni_bin_dir") else list(machine.config["cni_bin_dirs"])  # fmt: skip
    missing = [name for name in _PLUGINS if not any(machine.exists(f"{folder}/{name}") for folder in folders)]  # fmt: skip
    if missing:
        yield Finding("CNI plugins", WARNING, f"missing in {':'.join(folders)}: {', '.join(missing)}", "apt install containernetworking-plugins; networks of pods take them")  # fmt: skip
    else:
        yield Finding("CNI plugins", OK, ", ".join(_PLUGINS))
    if machine.read("/proc/sys/net/ipv4/ip_forward").strip() == "1":
        yield Finding("forwarding", OK, "net.ipv4.ip_forward = 1")
    else:
        yield Finding("forwarding", WARNING, "net.ipv4.ip_forward is off", "sysctl -w net.ipv4.ip_forward=1, and in /etc/sysctl.d; containers on a bridge reach nobody else")  # fmt: skip


def services(machine: Machine) -> Iterator[Finding]:
    for name, setting, unit in (
        ("keeper", "keeper_address", "pinnace-keeper"),
        ("daemon", "address", "pinnaced"),
    ):
        path = machine.path(machine.config.text(setting))
        problem = _answers(path)
        if problem:
            yield Finding(name, WARNING, f"{path}: {problem}", f"systemctl status {unit}; journalctl -u {unit}")  # fmt: skip
        else:
            yield Finding(name, OK, f"answers on {path}")
    for warning in machine.config.warnings:
        yield Finding("config.toml", WARNING, warning, "pinnaced config check")


def _answers(path: str) -> str:
    """Why nobody listens at a socket; ``""`` when somebody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_SECONDS)
        try:
            probe.connect(path)
        except OSError as problem:
            return problem.strerror or "no answer"
    return ""


def extras(_: Machine) -> Iterator[Finding]:
    found = shutil.which("criu")
    yield Finding("criu", OK, found or "not there: no checkpoints")


CHECKS: tuple[Callable[[Machine], Iterator[Finding]], ...] = (
    user, kernel, cgroups, clock, disk, storage, network, services, extras,
)  # fmt: skip
