"""What the laptop has to know of a board before it can compile a plan for it."""

from __future__ import annotations

import os
import sys
import time

from toolkit.agent.kinds.kernel import cmdline, controllers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from toolkit.agent.system import System


def gather(system: System) -> dict[str, Any]:
    """Facts of the board, read from files only: no program is started.

    ``machine`` is what the userland is built for (a 64-bit kernel under a 32-bit system says
    aarch64 in uname): the interpreter's own ELF header decides.
    """
    uname = os.uname()
    release = os_release(system.read_text("/etc/os-release"))
    return {
        "machine": userland(uname.machine, _header()),
        "kernel": uname.release,
        "hostname": uname.nodename,
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "distribution": release.get("ID", ""),
        "codename": release.get("VERSION_CODENAME", ""),
        "systemd": system.lstat("/run/systemd/system") is not None,
        "containerd": system.lstat("/usr/bin/containerd") is not None,
        "modules": os.path.isdir(system.path(f"/lib/modules/{uname.release}")),
        "cmdline": cmdline(system),
        "controllers": controllers(system),
        "boot_id": system.read_text("/proc/sys/kernel/random/boot_id").strip(),
        "overlay_root": "boot=overlay" in system.read_text("/proc/cmdline").split(),
        "debian_arch": debian_arch(system),
        "signers": system.lstat("/etc/pinnace/signing/allowed_signers") is not None,
        "time": time.time(),
        "uid": os.getuid(),
    }


def os_release(text: str) -> dict[str, str]:
    """The fields of os-release(5)."""
    pairs = [line.partition("=") for line in text.splitlines() if "=" in line]
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}


def debian_arch(system: System) -> str:
    """The architecture of the board's own packages: dpkg names the files of libc6 by it."""
    for name in ("amd64", "arm64", "armhf", "armel"):
        if system.lstat(f"/var/lib/dpkg/info/libc6:{name}.list") is not None:
            return name
    return ""


def userland(machine: str, header: bytes) -> str:
    """``uname -m`` corrected by the ELF class of the interpreter (byte 4: 1 is 32-bit).

    Under a 64-bit kernel a 32-bit ARM system may be ARMv6: the build attributes would tell, and the
    lowest is right everywhere.
    """
    if header[4:5] == b"\x01" and machine in ("aarch64", "arm64"):
        return "armv6l"
    return machine


def _header() -> bytes:
    with open("/proc/self/exe", "rb") as file:
        return file.read(20)
