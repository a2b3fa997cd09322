"""What makes a Debian root a board: the user, SSH, and the units that make no sense in it.

A board is a container to systemd: the kernel, its devices, its clock and its binfmt_misc table belong
to the machine, so the units that manage them are masked. Everything else is as Debian has it.
"""

from __future__ import annotations

import inspect
import shutil
import sys
from pathlib import Path

from toolkit.process import run

USER = "pi"
UID = 1000

_MASKED = (
    # They would flush the machine's binfmt_misc table, which has the emulator's own entry.
    "systemd-binfmt.service",
    "proc-sys-fs-binfmt_misc.automount",
    "proc-sys-fs-binfmt_misc.mount",
    # Devices, modules and the clock are the machine's; of the settings, systemd-sysctl sets what it may.
    "systemd-udevd.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "systemd-udev-trigger.service",
    "systemd-modules-load.service",
    "systemd-timesyncd.service",
    "systemd-pstore.service",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "sys-kernel-config.mount",
    "sys-fs-fuse-connections.mount",
    # The root is mounted before systemd runs; there is no console and no first boot to ask on.
    "systemd-remount-fs.service",
    "systemd-firstboot.service",
    "systemd-homed.service",
    "getty.target",
    "console-getty.service",
    # Network interfaces are configured before systemd runs.
    "systemd-networkd.service",
    "systemd-networkd.socket",
    "systemd-resolved.service",
    # Nothing runs by itself in the middle of a test.
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "systemd-tmpfiles-clean.timer",
)

# qemu-user cannot clone() with namespace flags, which these settings need. systemd 252 and 257
# fail the unit then instead of going without.
_NO_SANDBOX = """\
[Service]
LoadCredential=
PrivateTmp=no
PrivateDevices=no
PrivateNetwork=no
PrivateUsers=no
PrivateMounts=no
PrivateIPC=no
ProtectSystem=no
ProtectHome=no
ProtectKernelTunables=no
ProtectKernelModules=no
ProtectKernelLogs=no
ProtectControlGroups=no
ProtectHostname=no
ProtectClock=no
ProtectProc=default
ProcSubset=all
ReadWritePaths=
ReadOnlyPaths=
InaccessiblePaths=
BindPaths=
RestrictNamespaces=no
RestrictAddressFamilies=
RestrictRealtime=no
RestrictSUIDSGID=no
MemoryDenyWriteExecute=no
LockPersonality=no
SystemCallFilter=
SystemCallArchitectures=
NoNewPrivileges=no
DynamicUser=no
"""

SSHD = """\
# Answers at once: no reverse look-up of the laptop's address, which no name server knows.
UseDNS no
PasswordAuthentication no
PermitRootLogin no
"""


def text() -> str:
    """This recipe as text: part of the key under which roots are cached."""
    return inspect.getsource(sys.modules[__name__])


def apply(root: Path) -> None:
    """Make the native Debian system in ``root`` a board's. Runs its own useradd in it."""
    groups = "sudo,adm,users"
    useradd = ["useradd", "--create-home", "--uid", str(UID), "--shell", "/bin/bash", "--groups", groups, USER]  # fmt: skip
    run(["chroot", root, *useradd], f"making the user {USER}")
    sudoers = root / "etc/sudoers.d/010_pi-nopasswd"
    sudoers.write_text(f"{USER} ALL=(ALL) NOPASSWD: ALL\n")
    sudoers.chmod(0o440)
    (root / "etc/ssh/sshd_config.d/board.conf").write_text(SSHD)
    for unit in _MASKED:
        _mask(root, unit)
    # Each board gets its own of these.
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    for name in ("etc/hostname", "etc/machine-id"):
        (root / name).unlink(missing_ok=True)
    # mmdebstrap copied them from this machine, or for its own use.
    for path in (
        "etc/resolv.conf",
        "etc/apt/apt.conf.d/99mmdebstrap",
        "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
    ):
        (root / path).unlink(missing_ok=True)
    (root / "etc/resolv.conf").write_text(
        "# A board has no name server; registry.lab is in /etc/hosts.\n"
    )
    (root / "etc/fstab").write_text(
        "# The board's file systems are mounted before systemd starts.\n"
    )
    for folder in ("var/lib/pinnace", "var/log/journal"):
        (root / folder).mkdir(parents=True, exist_ok=True)


def emulate(root: Path, release: str) -> None:
    """Further changes for a root of ``release`` that runs under user emulation."""
    drop_in = root / "etc/systemd/system/service.d/emulation.conf"
    drop_in.parent.mkdir(parents=True, exist_ok=True)
    # Bookworm's systemd would warn about this one with every unit it starts.
    newer = "" if release == "bookworm" else "ImportCredential=\n"
    drop_in.write_text(_NO_SANDBOX + newer)


def _mask(root: Path, unit: str) -> None:
    link = root / "etc/systemd/system" / unit
    if link.is_dir() and not link.is_symlink():
        shutil.rmtree(link)
    link.unlink(missing_ok=True)
    link.symlink_to("/dev/null")
