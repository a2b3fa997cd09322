"""Runtime specifications (``config.json``) made from an image's configuration and a caller's wishes.

:func:`default_spec` is the container a user gets who asks for nothing in particular: the default
capabilities, mounts, masked paths and device rules of containerd's client. The ``with_*`` functions change a
specification in place, one wish each; every client of the daemon builds on them.

Shapes are the JSON of the OCI runtime specification 1.2 (config.md, config-linux.md). Nothing here touches
the system: facts such as the lines of ``/etc/passwd`` are arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pinnace.errors import InvalidArgument

Spec = dict[str, Any]

OCI_VERSION = "1.2.0"
DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

DEFAULT_CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW",
    "CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
)  # fmt: skip
"""What root in a container may do by default."""

ALL_CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
    "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
    "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
)  # fmt: skip
"""Every capability in the order of linux/capability.h: a kernel that knows fewer has a prefix of it."""

_MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware",
    "/sys/devices/virtual/powercap", "/proc/scsi",
)  # fmt: skip
_READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_NAMESPACES = ("pid", "ipc", "uts", "mount", "network")
_NAMESPACE_KINDS = (*_NAMESPACES, "user", "cgroup", "time")
# null, zero, full, tty, random, urandom, console, pts/*, ptmx (Documentation/admin-guide/devices.txt)
_DEVICES = ((1, 3), (1, 5), (1, 7), (5, 0), (1, 8), (1, 9), (5, 1), (136, None), (5, 2))


def default_spec(container_id: str, namespace: str) -> Spec:
    """A specification without a command: fill in arguments with :func:`with_image_config` or
    :func:`with_args`."""
    return {
        "ociVersion": OCI_VERSION,
        "process": {
            "user": {"uid": 0, "gid": 0},
            "cwd": "/",
            "capabilities": _capability_sets(DEFAULT_CAPABILITIES),
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs"},
        "mounts": _default_mounts(),
        "linux": {
            "resources": {"devices": device_rules()},
            "cgroupsPath": f"/{namespace}/{container_id}",
            "namespaces": [{"type": kind} for kind in _NAMESPACES],
            "maskedPaths": list(_MASKED),
            "readonlyPaths": list(_READONLY),
        },
    }


def _capability_sets(names: Iterable[str]) -> dict[str, list[str]]:
    return {kind: list(names) for kind in ("bounding", "effective", "permitted")}


def _mount(destination: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    return {
        "destination": destination,
        "type": kind,
        "source": source,
        "options": list(options),
    }


def _default_mounts() -> list[dict[str, Any]]:
    sealed = ("nosuid", "noexec", "nodev")
    scratch = ("nosuid", "strictatime", "mode=755", "size=65536k")
    return [
        _mount("/proc", "proc", "proc", *sealed),
        _mount("/dev", "tmpfs", "tmpfs", *scratch),
        _mount(
            "/dev/pts",
            "devpts",
            "devpts",
            "nosuid",
            "noexec",
            "newinstance",
            "ptmxmode=0666",
            "mode=0620",
            "gid=5",
        ),
        _mount("/dev/shm", "tmpfs", "shm", *sealed, "mode=1777", "size=65536k"),  # noqa: S108
        _mount("/dev/mqueue", "mqueue", "mqueue", *sealed),
        _mount("/sys", "sysfs", "sysfs", *sealed, "ro"),
        _mount("/run", "tmpfs", "tmpfs", *scratch),
    ]


def device_rules() -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    for major, minor in _DEVICES:
        rule: dict[str, Any] = {"allow": True, "type": "c", "major": major}
        if minor is not None:
            rule["minor"] = minor
        rules.append({**rule, "access": "rwm"})
    return rules


# The process


def with_env(spec: Spec, variables: Iterable[str]) -> None:
    """Add ``NAME=value`` settings over those there; a bare ``NAME`` removes it."""
    spec["process"]["env"] = merged_env(spec["process"].get("env", []), variables)


def merged_env(base: Iterable[str], over: Iterable[str]) -> list[str]:
    """``base`` with the settings of ``over`` in their place or behind it."""
    merged = {item.partition("=")[0]: item for item in base}
    for item in over:
        name, equals, _ = item.partition("=")
        if equals:
            merged[name] = item
        else:
            merged.pop(name, None)
    return list(merged.values())


def with_args(spec: Spec, args: Sequence[str]) -> None:
    if not args:
        raise InvalidArgument("no command was given and the image has none")
    spec["process"]["args"] = list(args)


def with_image_config(spec: Spec, config: dict[str, Any], args: Sequence[str]) -> str:
    """Take environment, command and directory from ``config`` (the ``config`` object of an image).

    ``args`` replace the image's command but not its entry point.

    Returns:
        The user the image asks for, ``""`` when none: see :func:`with_user`.
    """
    with_env_defaults(spec, config.get("Env") or [])
    command = list(args) or list(config.get("Cmd") or [])
    with_args(spec, [*(config.get("Entrypoint") or []), *command])
    spec["process"]["cwd"] = config.get("WorkingDir") or "/"
    return str(config.get("User") or "")


def with_env_defaults(spec: Spec, variables: Sequence[str]) -> None:
    """Settings that apply unless the specification already has them; ``PATH`` always exists."""
    given = spec["process"].get("env", [])
    spec["process"]["env"] = merged_env(variables or [DEFAULT_PATH], given)


def with_tty(spec: Spec) -> None:
    """A terminal for the process, and ``TERM`` unless the caller sets it later."""
    spec["process"]["terminal"] = True
    with_env(spec, ["TERM=xterm"])


def with_capabilities(spec: Spec, add: Iterable[str], drop: Iterable[str]) -> None:
    """Add and drop capabilities; ``ALL`` means every one that exists.

    Raises:
        InvalidArgument: a name that is not a capability.
    """
    have = list(spec["process"]["capabilities"]["bounding"])
    for name in add:
        have += [each for each in _capabilities_named(name) if each not in have]
    for name in drop:
        dropped = _capabilities_named(name)
        have = [each for each in have if each not in dropped]
    spec["process"]["capabilities"] = _capability_sets(have)


def _capabilities_named(name: str) -> tuple[str, ...]:
    if name.upper() == "ALL":
        return ALL_CAPABILITIES
    full = name.upper() if name.upper().startswith("CAP_") else f"CAP_{name.upper()}"
    if full not in ALL_CAPABILITIES:
        raise InvalidArgument(f"unknown capability {name}")
    return (full,)


# Users (passwd(5), group(5))


def with_user(spec: Spec, user: str, passwd: str, group: str) -> None:
    """Run as ``user``: ``name``, ``uid``, ``name:group`` or ``uid:gid`` in any mix.

    Args:
        passwd: the text of the container's ``/etc/passwd``, empty when it has none.
        group: likewise ``/etc/group``.

    Raises:
        InvalidArgument: a name that the files do not have, or a number out of range.
    """
    who, colon, group_name = user.partition(":")
    entry = _find(passwd, who, 7) if who else None
    if entry is None and not who.isdecimal() and who:
        raise InvalidArgument(f"no user {who} in the container's /etc/passwd")
    uid = _id(entry[2] if entry else who or "0", user)
    gid = _id(entry[3], user) if entry else 0
    if colon and group_name:
        found = _find(group, group_name, 4)
        if found is None and not group_name.isdecimal():
            raise InvalidArgument(f"no group {group_name} in the container's /etc/group")
        gid = _id(found[2] if found else group_name, user)
    extra = _groups_of(group, entry[0]) if entry else []
    # The primary group is always among the additional ones (CVE-2022-2989, CVE-2023-25173).
    gids = [gid, *(each for each in extra if each != gid)]
    spec["process"]["user"] = {"uid": uid, "gid": gid, "additionalGids": gids}


def _lines(text: str, fields: int) -> Iterable[list[str]]:
    for line in text.splitlines():
        parts = line.split(":")
        if len(parts) >= fields and parts[2].isdecimal() and not line.startswith("#"):
            yield parts


def _find(text: str, name: str, fields: int) -> list[str] | None:
    """The line for a name, or for a number; a name wins over the same digits as a number."""
    by_number = None
    for parts in _lines(text, fields):
        if parts[0] == name:
            return parts
        if by_number is None and name.isdecimal() and int(parts[2]) == int(name):
            by_number = parts
    return by_number


def _groups_of(text: str, name: str) -> list[int]:
    return [int(parts[2]) for parts in _lines(text, 4) if name in parts[3].split(",")]


def _id(text: str, user: str) -> int:
    # The kernel keeps 2**32-1 for "no change" (setresuid(2)).
    if not text.isdecimal() or int(text) >= 2**32 - 1:
        raise InvalidArgument(f"user {user}: {text} is not a valid id")
    return int(text)


# Mounts, namespaces, devices


def parse_mount(text: str) -> dict[str, Any]:
    """A mount from ``type=bind,src=/tmp,dst=/host,options=rbind:ro``.

    Raises:
        InvalidArgument: an unknown key, no destination, or a relative one.
    """
    mount: dict[str, Any] = {"destination": "", "type": "", "source": "", "options": []}
    keys = {
        "type": "type", "source": "source", "src": "source",
        "destination": "destination", "dst": "destination",
    }  # fmt: skip
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if key == "options" and equals:
            mount["options"] = [option for option in value.split(":") if option]
        elif key in keys and equals:
            mount[keys[key]] = value
        else:
            raise InvalidArgument(
                f'invalid mount "{text}": {part!r} is not type=, src=, dst= or options='
            )
    if not mount["destination"].startswith("/"):
        raise InvalidArgument(f'invalid mount "{text}": dst= must be an absolute path')
    return mount


def with_mount(spec: Spec, mount: dict[str, Any]) -> None:
    """Add a mount, in place of one at the same destination."""
    kept = [each for each in spec["mounts"] if each["destination"] != mount["destination"]]
    spec["mounts"] = [*kept, mount]


def bind_readonly(spec: Spec, path: str) -> None:
    """The host's file at the same place in the container, read-only."""
    with_mount(spec, _mount(path, "bind", path, "rbind", "ro"))


def with_host_network(spec: Spec, hostname: str) -> None:
    """The host's network: its interfaces, its resolver, its ``/etc/hosts``, its name."""
    without_namespace(spec, "network")
    bind_readonly(spec, "/etc/hosts")
    bind_readonly(spec, "/etc/resolv.conf")
    with_env(spec, [f"HOSTNAME={hostname}"])


def without_namespace(spec: Spec, kind: str) -> None:
    linux = spec["linux"]
    linux["namespaces"] = [each for each in linux["namespaces"] if each["type"] != kind]


def join_namespace(spec: Spec, wish: str) -> None:
    """Join a namespace that exists, from ``TYPE:PATH`` (``network:/run/netns/blue``).

    Raises:
        InvalidArgument: not that form, or a type that does not exist.
    """
    kind, colon, path = wish.partition(":")
    if not colon or not path:
        raise InvalidArgument(f'invalid namespace "{wish}": TYPE:PATH is expected')
    if kind not in _NAMESPACE_KINDS:
        raise InvalidArgument(
            f'unknown namespace type "{kind}"', hint=f"one of {', '.join(_NAMESPACE_KINDS)}"
        )
    without_namespace(spec, kind)
    spec["linux"]["namespaces"].append({"type": kind, "path": path})


def with_device(spec: Spec, device: dict[str, Any], access: str = "rwm") -> None:
    """Make a device node (an object of ``linux.devices``) and allow ``access`` to it."""
    linux = spec["linux"]
    linux.setdefault("devices", []).append(device)
    linux["resources"].setdefault("devices", []).append(
        {
            "allow": True,
            "type": device["type"],
            "major": device["major"],
            "minor": device["minor"],
            "access": access,
        }
    )


def with_privileges(spec: Spec, devices: Iterable[dict[str, Any]], capabilities: int) -> None:
    """Lift what keeps root in the container from being root outside.

    Args:
        devices: the host's device nodes.
        capabilities: those to give, as bits (``CapEff`` of /proc/PID/status): no more than the caller
            has itself, because nobody can give what he has not.
    """
    given = [name for bit, name in enumerate(ALL_CAPABILITIES) if capabilities >> bit & 1]
    spec["process"]["capabilities"] = _capability_sets(given)
    linux = spec["linux"]
    linux["maskedPaths"] = []
    linux["readonlyPaths"] = []
    linux["devices"] = list(devices)
    linux["resources"]["devices"] = [{"allow": True, "access": "rwm"}]
    linux.pop("seccomp", None)
    for mount in spec["mounts"]:
        if mount["type"] in ("sysfs", "cgroup", "cgroup2"):
            mount["options"] = [each if each != "ro" else "rw" for each in mount["options"]]


# Limits (config-linux.md, cgroups)


def with_memory_limit(spec: Spec, limit: int) -> None:
    """Bytes of memory the container may use."""
    if limit <= 0:
        raise InvalidArgument(f"memory limit {limit}: a positive number of bytes is expected")
    spec["linux"]["resources"].setdefault("memory", {})["limit"] = limit


def with_cpus(spec: Spec, cpus: float) -> None:
    """Processors' worth of time, as a quota of 100 ms periods."""
    if not 0.01 <= cpus <= 100_000:
        raise InvalidArgument(f"cpus {cpus:g}: a number from 0.01 is expected")
    period = 100_000
    spec["linux"]["resources"].setdefault("cpu", {}).update(quota=int(cpus * period), period=period)


def with_cpu(spec: Spec, key: str, value: int | str) -> None:
    """One key of ``linux.resources.cpu``: ``shares``, ``quota``, ``period``, ``cpus`` or ``mems``."""
    spec["linux"]["resources"].setdefault("cpu", {})[key] = value


def with_rlimit(spec: Spec, kind: str, soft: int, hard: int) -> None:
    """Set a resource limit (``RLIMIT_NOFILE``) in place of the one there."""
    kept = [each for each in spec["process"].get("rlimits", []) if each["type"] != kind]
    spec["process"]["rlimits"] = [*kept, {"type": kind, "hard": hard, "soft": soft}]
