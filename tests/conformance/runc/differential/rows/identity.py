"""Who the program is: users, groups, capabilities, privileges."""

from __future__ import annotations

from typing import Any

from tests.conformance.runc.differential.table import Row

_ALL = ("bounding", "effective", "permitted", "inheritable", "ambient")
_USUAL = ("bounding", "effective", "permitted")


def _user(uid: int, gid: int, **more: Any) -> dict[str, Any]:
    return {"process.user": {"uid": uid, "gid": gid, **more}}


def _sets(kinds: tuple[str, ...], *names: str) -> dict[str, Any]:
    return {"process.capabilities": {kind: [f"CAP_{name}" for name in names] for kind in kinds}}


ROWS = [
    Row("user", _user(1000, 1000), ask=("write:/tmp",)),
    Row("user-group-alone", _user(0, 1000)),
    Row("user-further-groups", _user(1000, 1000, additionalGids=[5, 27, 44])),
    Row("user-group-named-twice", _user(1000, 1000, additionalGids=[1000, 1000])),
    Row("user-umask", _user(0, 0, umask=0o077), ask=("write:/tmp", "stat:/tmp/written")),
    Row("user-umask-zero", _user(0, 0, umask=0), ask=("write:/tmp", "stat:/tmp/written")),
    Row("user-highest", _user(4294967294, 4294967294)),
    Row("user-not-a-number", {"process.user": {"uid": "root", "gid": 0}}),
    Row("user-negative", _user(-1, 0)),
    Row("user-missing", {"process.user": None}),
    Row("capabilities-none", {"process.capabilities": None}),
    Row("capabilities-empty", {"process.capabilities": {}}),
    Row("capabilities-two", _sets(_USUAL, "KILL", "NET_RAW")),
    Row("capabilities-bounding-alone", _sets(("bounding",), "KILL", "NET_RAW")),
    Row("capabilities-inheritable", _sets((*_USUAL, "inheritable"), "KILL")),
    Row("capabilities-of-a-user", {**_sets(_USUAL, "KILL"), **_user(1000, 1000)}),
    Row("capabilities-ambient", {**_sets(_ALL, "NET_BIND_SERVICE"), **_user(1000, 1000)}),
    Row("capabilities-ambient-of-root", _sets(_ALL, "NET_BIND_SERVICE")),
    Row(
        "capabilities-ambient-not-inheritable",
        {**_sets((*_USUAL, "ambient"), "NET_BIND_SERVICE"), **_user(1000, 1000)},
    ),
    Row("capabilities-effective-not-permitted", _sets(("bounding", "effective"), "KILL")),
    Row("capabilities-permitted-not-effective", _sets(("bounding", "permitted"), "KILL")),
    Row("capabilities-not-in-bounding", _sets(("effective", "permitted"), "KILL")),
    Row("capabilities-unknown", _sets(_USUAL, "NOSUCH")),
    Row("capabilities-all-strong", _sets(_USUAL, "SYS_ADMIN", "SYS_PTRACE", "NET_ADMIN", "BPF")),
    Row("capabilities-lower-case", {"process.capabilities": {"bounding": ["cap_kill"]}}),
    Row("capabilities-raw-socket", _sets(_USUAL, "NET_RAW"), ask=("socket:2",)),
    Row("no-new-privileges-false", {"process.noNewPrivileges": False}),
    Row("no-new-privileges-missing", {"process.noNewPrivileges": None}),
    Row("mknod-refused-by-capability", _sets(_USUAL), ask=("mknod:/tmp/device",)),
    Row("mknod-and-device-rules", {}, ask=("mknod:/tmp/device",)),
]
