"""The runtime specification that the flags of ``run`` and ``containers create`` ask for."""

from __future__ import annotations

import json
import os
import socket
import stat
from typing import TYPE_CHECKING, Any

from pinnace.cli import containers
from pinnace.cli.ctr.flags import refuse
from pinnace.errors import Error, InvalidArgument, Unimplemented
from pinnace.linux import rootfs
from pinnace.spec import oci

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pinnace.cli.options import Call
    from pinnace.linux.mount import Mount

_NOT_COPIED = frozenset(["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console"])
_ACCOUNTS = ("/etc/passwd", "/etc/group")
_NO_DEVICES = "privileged-without-host-devices"
REFUSED = (
    (("gpus",), "no board has a GPU that containers share; --device passes a device node"),
    (("blockio-config-file", "blockio-class"), "classes of block I/O are not supported"),
    (("rdt-class",), "no board has Intel RDT"),
    (("apparmor-default-profile",), "no profile is made here: load one and use --apparmor-profile"),
    (("cni",), "networks are not attached by ctr; use --net-host or --with-ns network:PATH"),
)
"""Flags of containerd's ctr that are refused, and why."""


def read_json(path: str) -> dict[str, Any]:
    """A JSON object from a file the user names."""
    try:
        with open(path, "rb") as file:
            document = json.load(file)
    except OSError as problem:
        raise InvalidArgument(f"{path}: {problem.strerror}") from None
    except ValueError as problem:
        raise InvalidArgument(f"{path}: not valid JSON: {problem}") from None
    if not isinstance(document, dict):
        raise InvalidArgument(f"{path}: a JSON object is expected")
    return document


def make_spec(
    call: Call, container_id: str, image_config: dict[str, Any], mounts: list[Mount]
) -> oci.Spec:
    """The runtime specification for the flags of ``call``, over what the image says.

    Raises :class:`Unimplemented` for flags that cannot work here.
    """
    for names, why in REFUSED:
        refuse(call, why, *names)
    spec = oci.default_spec(container_id, call.text("namespace"))
    if call.on("tty"):
        oci.with_tty(spec)
    user = oci.with_image_config(spec, image_config, call.args[2:])
    oci.with_env(spec, [*_env_file(call.text("env-file")), *call.texts("env")])
    passwd, group = rootfs.read_files(mounts, _ACCOUNTS)
    oci.with_user(spec, call.text("user") or user or "0:0", passwd, group)
    _apply_process_flags(spec, call)
    _apply_isolation_flags(spec, call)
    _apply_limits(spec, call)
    return spec


def _env_file(path: str) -> list[str]:
    if not path:
        return []
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return [line.rstrip("\n") for line in file if "=" in line and line[0] != "#"]
    except OSError as problem:
        raise InvalidArgument(f"{path}: {problem.strerror}") from None


def _apply_process_flags(spec: oci.Spec, call: Call) -> None:
    process = spec["process"]
    if call.text("cwd"):
        process["cwd"] = call.text("cwd")
    if call.on("privileged"):
        without = call.has(_NO_DEVICES) and call.on(_NO_DEVICES)
        devices = [] if without else host_devices("/dev")
        oci.with_privileges(spec, devices, _own_capabilities())
        if without:
            spec["linux"]["resources"]["devices"] = oci.device_rules()
    if call.text("apparmor-profile"):
        process["apparmorProfile"] = call.text("apparmor-profile")
    oci.with_capabilities(spec, call.texts("cap-add"), call.texts("cap-drop"))
    if call.on("allow-new-privs"):
        process["noNewPrivileges"] = False
    if call.text("rlimit-nofile"):
        soft, _, hard = call.text("rlimit-nofile").partition(":")
        if not soft.isdecimal() or not (hard or soft).isdecimal():
            raise InvalidArgument("--rlimit-nofile: SOFT or SOFT:HARD is expected")
        oci.with_rlimit(spec, "RLIMIT_NOFILE", int(soft), int(hard or soft))


def _apply_isolation_flags(spec: oci.Spec, call: Call) -> None:
    for wish in call.texts("mount"):
        oci.with_mount(spec, oci.parse_mount(wish))
    if call.on("net-host"):
        oci.with_host_network(spec, socket.gethostname())
    for wish in call.texts("with-ns"):
        oci.join_namespace(spec, wish)
    if call.text("hostname"):
        spec["hostname"] = call.text("hostname")
    if call.on("read-only"):
        spec["root"]["readonly"] = True
    for path in call.texts("device"):
        for device in devices_at(path):
            oci.with_device(spec, device)
    _apply_seccomp(spec, call)
    if call.text("rootfs-propagation"):
        spec["linux"]["rootfsPropagation"] = call.text("rootfs-propagation")
    annotations = containers.parse_labels([*call.texts("label"), *call.texts("annotation")])
    if annotations:
        spec["annotations"] = annotations
    if call.has("cgroup") and call.given("cgroup"):
        spec["linux"]["cgroupsPath"] = call.text("cgroup")


def _apply_seccomp(spec: oci.Spec, call: Call) -> None:
    if call.text("seccomp-profile"):
        spec["linux"]["seccomp"] = read_json(call.text("seccomp-profile"))
    elif call.on("seccomp"):
        raise Unimplemented(
            "--seccomp: there is no built-in profile", hint="give one: --seccomp-profile FILE"
        )


def _apply_limits(spec: oci.Spec, call: Call) -> None:
    if call.given("memory-limit"):
        oci.with_memory_limit(spec, call.integer("memory-limit"))
    if call.given("cpus"):
        if call.given("cpu-quota") or call.given("cpu-period"):
            raise InvalidArgument("--cpus and --cpu-quota/--cpu-period say the same: use one")
        oci.with_cpus(spec, call.number("cpus"))
    for flag, key in (("cpu-shares", "shares"), ("cpu-quota", "quota"), ("cpu-period", "period")):
        if call.given(flag):
            oci.with_cpu(spec, key, call.integer(flag))
    for flag, key in (("cpuset-cpus", "cpus"), ("cpuset-mems", "mems")):
        if call.has(flag) and call.text(flag):
            oci.with_cpu(spec, key, call.text(flag))


def _own_capabilities() -> int:
    """This process's effective capabilities, as bits."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("CapEff:"):
                return int(line.split()[1], 16)
    raise Error("cannot tell this process's capabilities: /proc/self/status has no CapEff")


def devices_at(path: str) -> list[dict[str, Any]]:
    """The device node at ``path``, or those below it when it is a directory."""
    try:
        mode = os.stat(path).st_mode
    except OSError as problem:
        raise InvalidArgument(f"device {path}: {problem.strerror}") from None
    if stat.S_ISDIR(mode):
        return host_devices(path)
    device = _device(path)
    if device is None:
        raise InvalidArgument(f"device {path}: not a device node")
    return [device]


def host_devices(directory: str) -> list[dict[str, Any]]:
    """Every device node below ``directory``, without those each container has of its own."""
    return [device for path in _nodes(directory) if (device := _device(path)) is not None]


def _nodes(directory: str) -> Iterator[str]:
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            if entry.name in _NOT_COPIED:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _nodes(entry.path)
            elif not entry.is_symlink():
                yield entry.path


def _device(path: str) -> dict[str, Any] | None:
    """An object of ``linux.devices`` for a node; ``None`` for anything else."""
    try:
        facts = os.stat(path)
    except FileNotFoundError:
        return None  # gone since it was listed
    if stat.S_ISCHR(facts.st_mode):
        kind = "c"
    elif stat.S_ISBLK(facts.st_mode):
        kind = "b"
    else:
        return None
    return {
        "path": path,
        "type": kind,
        "major": os.major(facts.st_rdev),
        "minor": os.minor(facts.st_rdev),
        "fileMode": stat.S_IMODE(facts.st_mode),
        "uid": facts.st_uid,
        "gid": facts.st_gid,
    }
