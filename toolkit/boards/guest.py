"""The board's side of its start: from an empty mount namespace to systemd as PID 1.

Runs as PID 1 of the new namespaces, which :mod:`toolkit.boards.supervisor` made: builds the board's
root file system, configures its network and becomes its init. A failure here is one line in the
board's console log and ends the board.
"""

from __future__ import annotations

import os
import stat
import sys
import uuid
from pathlib import Path

from toolkit.boards import cgroups, network
from toolkit.boards.config import Config
from toolkit.errors import PinnaceError
from toolkit.process import run

_NODES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0), "fuse": (10, 229), "net/tun": (10, 200)}  # fmt: skip
_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}  # fmt: skip

# systemd must be told to go on where this machine has cgroup v1 controllers, which it leaves alone.
_INIT_ENVIRON = {
    "container": "pinnace",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "TERM": "dumb",
    "SYSTEMD_PROC_CMDLINE": "systemd.log_target=journal SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1",
}

# The old root is below /mnt of the new one now; the board's own umount lets go of it.
_BECOME_INIT = "mount --make-rshared / && umount -l /mnt && exec /sbin/init"


def main() -> None:
    """Entry point: the argument is the board's directory. Does not return."""
    config = Config.read(Path(sys.argv[1]))
    print("ready", flush=True)
    sys.stdin.readline()  # the supervisor has connected the network
    # From here on nothing is left of its pipes: systemd inherits no descriptor of this machine.
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    os.dup2(2, 1)
    try:
        network.configure_inside(config.address)
        _mount(config)
        _pivot(config.mountpoint)
    except (PinnaceError, OSError) as problem:
        print(f"board {config.name}: {problem}", file=sys.stderr, flush=True)
        sys.exit(1)


def _mount(config: Config) -> None:
    found = cgroups.hierarchies()
    root = config.mountpoint
    layers = f"lowerdir={config.root},upperdir={config.upper},workdir={config.work}"
    _mount_one("overlay", root, layers, "overlay")
    # A container engine's own overlays cannot have their upper layer on an overlay.
    _bind(config.storage, root / "var/lib/pinnace")
    _mount_one("proc", root / "proc", "nosuid,nodev,noexec")
    (root / "proc/sys/kernel/hostname").write_text(config.name)
    _protect_kernel(root / "proc")
    _mount_one("sysfs", root / "sys", "ro,nosuid,nodev,noexec")
    cgroups.mount_inside(root / "sys/fs/cgroup", found)
    _devices(root / "dev")
    _mount_one("tmpfs", root / "run", "mode=755,nosuid,nodev")
    _new_boot_id(root)


def _new_boot_id(root: Path) -> None:
    """Give each boot of the board an id of its own, as on hardware: reboots are told by it."""
    (root / "run/boot_id").write_text(f"{uuid.uuid4()}\n")
    _bind(root / "run/boot_id", root / "proc/sys/kernel/random/boot_id")


def _protect_kernel(proc: Path) -> None:
    """What is the machine's and not the board's cannot be written: no sysctl but the network's."""
    _bind(proc / "sys", proc / "sys")
    _bind(proc / "sys/net", proc / "sys/net")
    run(["mount", "-o", "remount,bind,ro", proc / "sys"], "protecting /proc/sys")
    if (proc / "sysrq-trigger").exists():
        _bind(Path("/dev/null"), proc / "sysrq-trigger")


def _devices(dev: Path) -> None:
    _mount_one("tmpfs", dev, "mode=755,nosuid")
    os.umask(0)
    for name, (major, minor) in _NODES.items():
        (dev / name).parent.mkdir(mode=0o755, exist_ok=True)
        os.mknod(dev / name, stat.S_IFCHR | 0o666, os.makedev(major, minor))
    # systemd writes its status lines here; they are in the journal, too.
    os.mknod(dev / "console", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.umask(0o022)
    for name, target in _LINKS.items():
        (dev / name).symlink_to(target)
    for folder in ("pts", "shm", "mqueue"):
        (dev / folder).mkdir()
    _mount_one("devpts", dev / "pts", "newinstance,ptmxmode=0666,mode=0620,gid=5")
    _mount_one("tmpfs", dev / "shm", "mode=1777,nosuid,nodev")
    _mount_one("mqueue", dev / "mqueue", "nosuid,nodev,noexec")


def _pivot(root: Path) -> None:
    os.chdir(root)
    run(["pivot_root", ".", "mnt"], "entering the root file system")
    os.chroot(".")
    os.execve("/bin/sh", ["sh", "-c", _BECOME_INIT], _INIT_ENVIRON)  # noqa: S606  becomes init


def _mount_one(kind: str, target: Path, options: str, source: str = "") -> None:
    run(["mount", "-t", kind, "-o", options, source or kind, target], f"mounting {target}")


def _bind(source: Path, target: Path) -> None:
    run(["mount", "--bind", source, target], f"mounting {target}")


if __name__ == "__main__":
    main()
