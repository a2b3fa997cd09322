"""The OCI runtime configuration (runtime-spec 1.3, config.md): reading, checking, and a default.

A configuration stays the JSON object it is; ``check`` verifies the shape of every part the runtime
uses, so that code below it indexes without surprises. Unknown keys are allowed by the
specification and kept.
"""

from __future__ import annotations

import json
import os
from typing import Any

from pinnace.errors import InvalidArgument, NotFound
from pinnace.spec.shape import Shape, verify

VERSION = "1.3.0"
MAX_CONFIG = 8 << 20  # bytes; a configuration is kilobytes, anything near this is hostile

NAMESPACE_TYPES = ("pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time")
HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")

DEFAULT_CAPABILITIES = tuple(
    "CAP_" + name
    for name in [
        "CHOWN",
        "DAC_OVERRIDE",
        "FSETID",
        "FOWNER",
        "MKNOD",
        "NET_RAW",
        "SETGID",
        "SETUID",
        "SETFCAP",
        "SETPCAP",
        "NET_BIND_SERVICE",
        "SYS_CHROOT",
        "KILL",
        "AUDIT_WRITE",
    ]
)
"""What containerd and Docker leave to root in a container."""

MASKED_PATHS = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
    "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
    "/sys/firmware", "/sys/devices/virtual/powercap", "/proc/scsi",
)  # fmt: skip
PROC_FILES = {
    "/proc/cpuinfo", "/proc/diskstats", "/proc/meminfo", "/proc/stat", "/proc/swaps",
    "/proc/uptime", "/proc/loadavg", "/proc/slabinfo", "/proc/net/dev", "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
}  # fmt: skip
"""Files below /proc that something may be mounted on: what lxcfs and CPU partitioning put there (runc's list)."""
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_U32: Shape = range(1 << 32)
_TEXTS: Shape = [str]
_MAPPINGS: Shape = [{"containerID": _U32, "hostID": _U32, "size": _U32}]
_OFFSET: Shape = {"secs": int, "nanosecs": range(1_000_000_000)}
_HOOKS: Shape = [{"path": str, "args": _TEXTS, "env": _TEXTS, "timeout": range(1, 1 << 31)}]
_PROCESS: dict[str, Shape] = {
    "args": _TEXTS, "env": _TEXTS, "cwd": str, "terminal": bool, "noNewPrivileges": bool,
    "user": {"uid": _U32, "gid": _U32, "umask": _U32, "additionalGids": [_U32]},
    "capabilities": dict.fromkeys(
        ("bounding", "effective", "inheritable", "permitted", "ambient"), _TEXTS
    ),
    "rlimits": [{"type": str, "soft": int, "hard": int}],
    "oomScoreAdj": range(-1000, 1001), "consoleSize": {"width": _U32, "height": _U32},
    "apparmorProfile": str, "selinuxLabel": str,
    "scheduler": {
        "policy": str, "nice": range(-20, 20), "priority": range(100), "flags": _TEXTS,
        "runtime": int, "deadline": int, "period": int,
    },
    "ioPriority": {"class": str, "priority": range(8)},
    "execCPUAffinity": {"initial": str, "final": str},
}  # fmt: skip
_SHAPE: dict[str, Shape] = {
    "ociVersion": str, "root": {"path": str, "readonly": bool}, "hostname": str, "domainname": str,
    "mounts": [{
        "destination": str, "type": str, "source": str, "options": _TEXTS,
        "uidMappings": _MAPPINGS, "gidMappings": _MAPPINGS,
    }],
    "hooks": dict.fromkeys(HOOKS, _HOOKS), "annotations": dict,
    "linux": {
        "namespaces": [{"type": str, "path": str}], "uidMappings": _MAPPINGS,
        "gidMappings": _MAPPINGS, "cgroupsPath": str, "resources": dict, "sysctl": dict,
        "devices": [{
            "path": str, "type": str, "major": int, "minor": int, "fileMode": _U32, "uid": _U32,
            "gid": _U32,
        }],
        "maskedPaths": _TEXTS, "readonlyPaths": _TEXTS, "rootfsPropagation": str, "seccomp": dict,
        "mountLabel": str, "personality": {"domain": str, "flags": _TEXTS}, "intelRdt": dict,
        "timeOffsets": {"monotonic": _OFFSET, "boottime": _OFFSET},
        "memoryPolicy": {"mode": str, "nodes": str, "flags": _TEXTS}, "netDevices": dict,
    },
}  # fmt: skip


def load(bundle: str) -> dict[str, Any]:
    """Read and check ``config.json`` of a bundle. Raises NotFound or InvalidArgument."""
    return read(f"{bundle}/config.json")


def read(path: str) -> dict[str, Any]:
    """Read and check a configuration. Raises NotFound or InvalidArgument."""
    try:
        with open(path, "rb") as file:
            # As much as there is: a buffer for the most there may be costs more than the rest.
            size = os.fstat(file.fileno()).st_size
            content = file.read(size + 1 if size <= MAX_CONFIG else MAX_CONFIG + 1)
    except FileNotFoundError:
        raise NotFound(f"JSON specification file {path} not found") from None
    if len(content) > MAX_CONFIG:
        raise InvalidArgument(f"{path} is larger than {MAX_CONFIG} bytes")
    try:
        spec = json.loads(content)
    except ValueError as problem:
        raise InvalidArgument(f"{path} is not JSON: {problem}") from None
    return check(spec)


def check(spec: Any) -> dict[str, Any]:
    """Check a whole configuration and return it. Raises InvalidArgument naming the key."""
    if not isinstance(spec, dict):
        raise InvalidArgument("the container configuration is not an object")
    verify(spec, _SHAPE, "")
    if not (spec.get("root") or {}).get("path"):
        raise InvalidArgument("the container configuration has no root.path")
    _check_linux(spec.get("linux") or {})
    for name, entries in (spec.get("hooks") or {}).items():
        if not all(_is_absolute(entry.get("path")) for entry in entries or ()):
            raise InvalidArgument(f"hooks.{name}: path must be absolute")
    for index, item in enumerate(spec.get("mounts") or ()):
        if not item.get("destination"):
            raise InvalidArgument(f"mounts[{index}] has no destination")
    if spec.get("process") is not None:
        check_process(spec["process"])
    return spec


def _is_absolute(path: Any) -> bool:
    return str(path or "").startswith("/")


def _check_linux(linux: dict[str, Any]) -> None:
    for index, item in enumerate(linux.get("namespaces") or ()):
        if item.get("type") not in NAMESPACE_TYPES:
            raise InvalidArgument(f"linux.namespaces[{index}] is not a known namespace: {item}")
    for item in linux.get("devices") or ():
        if item.get("type") not in ("c", "b", "u", "p") or not _is_absolute(item.get("path")):
            raise InvalidArgument(f"linux.devices: not a device: {item}")
    for name, item in (linux.get("netDevices") or {}).items():
        verify(item or {}, {"name": str}, f"linux.netDevices.{name}.")
    if linux.get("timeOffsets") and not any(
        it["type"] == "time" for it in linux.get("namespaces") or ()
    ):
        raise InvalidArgument("linux.timeOffsets need a time namespace")


def check_process(process: Any) -> dict[str, Any]:
    """Check a ``process`` object (of a configuration or of an exec) and return it."""
    if not isinstance(process, dict):
        raise InvalidArgument("process is not an object")
    verify(process, _PROCESS, "process.")
    arguments = process.get("args")
    if not arguments:
        raise InvalidArgument("process.args must name a program")
    if not _is_absolute(process.get("cwd")):
        raise InvalidArgument("process.cwd must be an absolute path")
    texts = [*arguments, *(process.get("env") or ()), process["cwd"]]
    if any("\0" in text for text in texts):
        raise InvalidArgument("process: arguments, environment and cwd are texts without NUL")
    return process


def default_spec(cgroups_path: str = "") -> dict[str, Any]:
    """A configuration like the one containerd's clients start from: sh in ``rootfs``."""
    capabilities = list(DEFAULT_CAPABILITIES)
    return {
        "ociVersion": VERSION,
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs"},
        "mounts": default_mounts(),
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "cgroupsPath": cgroups_path,
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network")],
            "maskedPaths": list(MASKED_PATHS),
            "readonlyPaths": list(READONLY_PATHS),
        },
    }  # fmt: skip


def make_rootless(spec: dict[str, Any], uid: int, gid: int) -> None:
    """Change ``spec`` to what a user without privileges can run: himself as root, the host's network.

    Without a network namespace of its own no sysfs can be mounted, so the host's is shown; nobody else
    is mapped, so no mount may name a user or group; limits take rights that he may not have.
    """
    linux = spec["linux"]
    kinds = [item for item in linux["namespaces"] if item["type"] not in ("network", "user")]
    linux["namespaces"] = [*kinds, {"type": "user"}]
    linux["uidMappings"] = [{"containerID": 0, "hostID": uid, "size": 1}]
    linux["gidMappings"] = [{"containerID": 0, "hostID": gid, "size": 1}]
    linux.pop("resources", None)
    spec["mounts"] = [_without_ids(item) for item in spec["mounts"] if item["type"] != "sysfs"]
    spec["mounts"].append(
        _mount("/sys", "none", "/sys", ["rbind", "nosuid", "noexec", "nodev", "ro"])
    )


def _without_ids(item: dict[str, Any]) -> dict[str, Any]:
    kept = [word for word in item["options"] if not word.startswith(("uid=", "gid="))]
    return {**item, "options": kept}


def default_mounts() -> list[dict[str, Any]]:
    """The file systems every Linux container gets (config-linux.md, "Default Filesystems")."""
    usual = ["nosuid", "noexec", "nodev"]
    return [
        _mount("/proc", "proc", "proc", usual),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount("/dev/pts", "devpts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        _mount("/dev/shm", "tmpfs", "shm", [*usual, "mode=1777", "size=65536k"]),  # noqa: S108 (a container's own)
        _mount("/dev/mqueue", "mqueue", "mqueue", usual),
        _mount("/sys", "sysfs", "sysfs", [*usual, "ro"]),
        _mount("/run", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
    ]  # fmt: skip


def _mount(destination: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}
