"""What this runtime can do, as the features structure of the OCI specification (features.md).

It is about the runtime, not the machine it runs on; only ``supportedFlags`` asks the kernel. Nothing may
be in it that the newest version it names does not define.
"""

from __future__ import annotations

from typing import Any

from pinnace.errors import Error
from pinnace.linux import capabilities, mount
from pinnace.linux.kernel import KERNEL, NAMESPACES, Kernel
from pinnace.linux.seccomp import loading, profile
from pinnace.linux.seccomp.library import Library
from pinnace.runc import mapped
from pinnace.spec import runtime
from pinnace.version import VERSION

OLDEST = "1.0.0"


def describe(kernel: Kernel = KERNEL) -> dict[str, Any]:
    """The features structure, ready for JSON."""
    return {
        "ociVersionMin": OLDEST,
        "ociVersionMax": runtime.VERSION,
        "hooks": list(runtime.HOOKS),
        "mountOptions": sorted(
            {*mount.SET, *mount.PROPAGATION, *mount.RECURSIVE, *mapped.WORDS, "tmpcopyup"}
        ),
        "linux": {
            "namespaces": sorted(NAMESPACES),
            "capabilities": list(capabilities.NAMES),
            "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": True, "rdma": True},
            "seccomp": _seccomp(kernel),
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": True},
        },
        "annotations": {"io.pinnace.version": VERSION, **_libseccomp()},
        "potentiallyUnsafeConfigAnnotations": [],
    }


def _seccomp(kernel: Kernel) -> dict[str, Any]:
    supported = [name for name, flag in profile.FLAGS.items() if loading.has_flag(kernel, flag)]
    return {
        "enabled": True,
        "actions": sorted(profile.ACTIONS),
        "operators": sorted(profile.OPERATORS),
        "archs": sorted(profile.ARCHITECTURES),
        "knownFlags": sorted(profile.FLAGS),
        "supportedFlags": sorted(supported),
    }


def _libseccomp() -> dict[str, str]:
    """The version of the library, under the key that runc gives it; nothing where there is none."""
    try:
        return {"io.github.seccomp.libseccomp.version": Library().version()}
    except Error:
        return {}
