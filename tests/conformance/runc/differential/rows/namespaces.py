"""Namespaces: made, shared, joined by path; names, kernel settings, mappings, time."""

from __future__ import annotations

from typing import Any

from tests.conformance.runc.differential.bundle import Bundle
from tests.conformance.runc.differential.table import Row, mount

_USUAL = ("pid", "ipc", "uts", "mount", "network")
JOINED = "/run/namespaces"
"""Where the arenas have namespaces to join, by the kernel's name."""


def _kinds(*kinds: str, **paths: str) -> dict[str, Any]:
    items: list[dict[str, str]] = [{"type": kind} for kind in kinds]
    items += [{"type": kind, "path": f"{JOINED}/{name}"} for kind, name in paths.items()]
    return {"linux.namespaces": items}


def _without(kind: str) -> dict[str, Any]:
    return _kinds(*(each for each in _USUAL if each != kind))


def _joined(kind: str, name: str) -> Row:
    kinds = [each for each in _USUAL if each != kind]
    return Row(f"namespace-joined-{kind}", _kinds(*kinds, **{kind: name}))


def _sysctl(name: str, settings: dict[str, str], **more: Any) -> Row:
    ask = tuple(f"read:/proc/sys/{key.replace('.', '/')}" for key in settings)
    return Row(f"sysctl-{name}", {"linux.sysctl": settings, **more}, ask=ask)


_WHOLE = [{"containerID": 0, "hostID": 100000, "size": 65536}]
_TWO = [
    {"containerID": 0, "hostID": 100000, "size": 1},
    {"containerID": 1, "hostID": 200000, "size": 999},
]


def _own_root(bundle: Bundle) -> None:
    """The root belongs to the mapped root."""
    bundle.give(100000)


def _users(
    name: str, settings: dict[str, Any], *mounts: Any, mapping: Any = _WHOLE, **more: Any
) -> Row:
    """In a new user namespace; sysfs needs the network namespace that is made with it."""
    base = {
        **_kinds(*_USUAL, "user"),
        "linux.uidMappings": mapping,
        "linux.gidMappings": mapping,
    }
    return Row(f"users-{name}", {**base, **settings}, mounts, change=_own_root, **more)


_SHIFT = {"uidMappings": _WHOLE, "gidMappings": _WHOLE}

ROWS = [
    Row("namespace-cgroup", _kinds(*_USUAL, "cgroup")),
    Row("namespace-time", _kinds(*_USUAL, "time")),
    Row("namespace-no-pid", _without("pid")),
    Row("namespace-no-ipc", _without("ipc")),
    Row("namespace-no-uts", _without("uts")),
    Row("namespace-no-network", _without("network")),
    Row("namespace-no-mount", _without("mount")),
    Row("namespace-mount-alone", _kinds("mount")),
    Row("namespace-unknown", _kinds(*_USUAL, "nosuch")),
    Row("namespace-twice", _kinds(*_USUAL, "pid")),
    _joined("network", "net"),
    _joined("ipc", "ipc"),
    _joined("uts", "uts"),
    _joined("pid", "pid"),
    Row("namespace-joined-time", _kinds(*_USUAL, time="time")),
    Row("namespace-joined-cgroup", _kinds(*_USUAL, cgroup="cgroup")),
    Row("namespace-joined-all", _kinds("mount", network="net", ipc="ipc", uts="uts", pid="pid")),
    Row("namespace-joined-wrong-kind", _kinds("pid", "ipc", "uts", "mount", network="ipc")),
    Row("namespace-joined-missing", _kinds("pid", "ipc", "uts", "mount", network="nosuch")),
    Row("namespace-joined-hostname", {**_kinds("pid", "ipc", "mount", uts="uts"), "hostname": "boat"}),
    Row("hostname", {"hostname": "boat"}),
    Row("hostname-without-namespace", {"hostname": "boat", **_without("uts")}),
    Row("domainname", {"domainname": "harbour"}),
    Row("domainname-without-namespace", {"domainname": "harbour", **_without("uts")}),
    Row("time-offsets", {
        **_kinds(*_USUAL, "time"),
        "linux.timeOffsets": {"monotonic": {"secs": 1000}, "boottime": {"secs": 864000, "nanosecs": 5}},
    }),
    Row("time-offsets-without-namespace", {"linux.timeOffsets": {"boottime": {"secs": 864000}}}),
    Row("time-offsets-unknown-clock", {
        **_kinds(*_USUAL, "time"), "linux.timeOffsets": {"realtime": {"secs": 1000}},
    }),
    _sysctl("network", {"net.ipv4.ip_forward": "1"}),
    _sysctl("several", {"net.ipv4.ip_default_ttl": "33", "kernel.shmmni": "123", "fs.mqueue.msg_max": "11"}),
    _sysctl("of-the-machine", {"vm.swappiness": "10"}),
    _sysctl("shared-network", {"net.ipv4.ip_forward": "1"}, **_without("network")),
    _sysctl("shared-ipc", {"kernel.shmmni": "123"}, **_without("ipc")),
    _sysctl("unknown", {"net.ipv4.nosuch": "1"}),
    _sysctl("wrong-value", {"net.ipv4.ip_default_ttl": "many"}),
    _sysctl("hostname", {"kernel.hostname": "boat"}),
    _sysctl("domainname", {"kernel.domainname": "harbour"}),
    _sysctl("with-slashes", {"net/ipv4/ip_default_ttl": "34"}),
    _users("plain", {}, ask=("write:/data", "stat:/bin", "mknod:/tmp/device")),
    _users("other-user", {"process.user": {"uid": 1000, "gid": 1000, "additionalGids": [5, 7]}}),
    _users("unmapped-user", {"process.user": {"uid": 70000, "gid": 0}}),
    _users("unmapped-group", {"process.user": {"uid": 0, "gid": 0, "additionalGids": [70000]}}),
    _users("two-ranges", {}, mapping=_TWO),
    _users("no-mapping", {"linux.uidMappings": None, "linux.gidMappings": None}),
    _users("no-group-mapping", {"linux.gidMappings": None}),
    _users("overlapping", {}, mapping=[_WHOLE[0], {"containerID": 5, "hostID": 7, "size": 10}]),
    _users("read-only-root", {"root.readonly": True}, ask=("write:/data",)),
    _users("shared-network", {"linux.namespaces": _kinds("pid", "ipc", "uts", "mount", "user")["linux.namespaces"]}),
    _users("sysctl", {"linux.sysctl": {"net.ipv4.ip_forward": "1"}}, ask=("read:/proc/sys/net/ipv4/ip_forward",)),
    _users("capabilities-ambient", {"process.user": {"uid": 1, "gid": 1}, "process.capabilities": {
        kind: ["CAP_NET_ADMIN"] for kind in ("bounding", "effective", "permitted", "inheritable", "ambient")
    }}),
    _users("no-new-privileges-false", {"process.noNewPrivileges": False}),
    _users("exec", {}, process={}),
    _users("exec-other-user", {}, process={"user": {"uid": 1000, "gid": 1000}}),
    _users("cgroup-namespace", _kinds(*_USUAL, "user", "cgroup")),
    _users("volume", {}, mount("/mnt", "bind", "volume", "bind"), ask=("stat:/mnt/file", "write:/mnt")),
    _users("volume-read-only", {}, mount("/mnt", "bind", "volume", "rbind", "ro", "nodev"), ask=("write:/mnt",)),
    _users("tmpfs-owned", {}, mount("/mnt", "tmpfs", "tmpfs", "uid=1", "gid=1"), ask=("stat:/mnt",)),
    _users("volume-mapped", {}, mount("/mnt", "bind", "volume", "bind", **_SHIFT), ask=("stat:/mnt/file", "write:/mnt")),
    _users("volume-mapped-as-the-container", {}, mount("/mnt", "bind", "volume", "bind", "idmap"), ask=("stat:/mnt/file", "write:/mnt")),
    _users("joined", {"linux.namespaces": _kinds(*_USUAL, user="user")["linux.namespaces"], "linux.uidMappings": None, "linux.gidMappings": None}),
    Row("mapped-volume", {}, [mount("/mnt", "bind", "volume", "bind", **_SHIFT)], ask=("stat:/mnt/file", "write:/mnt", "list:/mnt")),
    Row("mapped-volume-recursive", {}, [mount("/mnt", "bind", "volume", "rbind", "ridmap", **_SHIFT)], ask=("stat:/mnt/file",)),
    Row("mapped-volume-word-alone", {}, [mount("/mnt", "bind", "volume", "bind", "idmap")], ask=("stat:/mnt/file",)),
    Row("mapped-volume-half", {}, [mount("/mnt", "bind", "volume", "bind", uidMappings=_WHOLE)]),
    Row("mapped-tmpfs", {}, [mount("/mnt", "tmpfs", "tmpfs", **_SHIFT)], ask=("stat:/mnt",)),
]  # fmt: skip
