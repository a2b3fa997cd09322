"""System calls that are refused, by name and by argument: what the program gets instead."""

from __future__ import annotations

from typing import Any

from tests.conformance.runc.differential.table import Row

_MKNOD = ("mknod", "mknodat")
_SOCKETS = ("socket:1", "socket:2", "socket:10", "socket:16")


def _profile(*rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    shape = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": list(rules), **more}
    return {"linux.seccomp": shape}


def _rule(action: str, *names: str, **more: Any) -> dict[str, Any]:
    return {"names": list(names), "action": f"SCMP_ACT_{action}", **more}


def _socket(operator: str, value: int, other: int = 0) -> dict[str, Any]:
    """Refuse socket(2) by its address family."""
    test = {"index": 0, "op": f"SCMP_CMP_{operator}", "value": value, "valueTwo": other}
    return _profile(_rule("ERRNO", "socket", errnoRet=18, args=[test]))


def _mknod(name: str, action: str, /, **more: Any) -> Row:
    return Row(f"seccomp-{name}", _profile(_rule(action, *_MKNOD, **more)), ask=("mknod:/tmp/x",))


ROWS = [
    _mknod("error", "ERRNO", errnoRet=18),
    _mknod("error-without-number", "ERRNO"),
    _mknod("error-zero", "ERRNO", errnoRet=0),
    _mknod("trace-without-a-tracer", "TRACE"),
    _mknod("log", "LOG"),
    _mknod("kill", "KILL"),
    _mknod("kill-thread", "KILL_THREAD"),
    _mknod("kill-process", "KILL_PROCESS"),
    _mknod("trap", "TRAP"),
    _mknod("action-unknown", "NOSUCH"),
    Row("seccomp-argument-equal", _socket("EQ", 2), ask=_SOCKETS),
    Row("seccomp-argument-not-equal", _socket("NE", 2), ask=_SOCKETS),
    Row("seccomp-argument-less", _socket("LT", 2), ask=_SOCKETS),
    Row("seccomp-argument-less-or-equal", _socket("LE", 2), ask=_SOCKETS),
    Row("seccomp-argument-greater", _socket("GT", 2), ask=_SOCKETS),
    Row("seccomp-argument-greater-or-equal", _socket("GE", 2), ask=_SOCKETS),
    Row("seccomp-argument-masked", _socket("MASKED_EQ", 2, 2), ask=_SOCKETS),
    Row("seccomp-operator-unknown", _socket("LIKE", 2), ask=_SOCKETS),
    Row(
        "seccomp-one-argument-twice",
        _profile(
            _rule(
                "ERRNO",
                "socket",
                args=[{"index": 0, "op": "SCMP_CMP_EQ", "value": value} for value in (1, 2)],
            )
        ),
        ask=_SOCKETS,
    ),
    Row("seccomp-call-unknown", _profile(_rule("ERRNO", "no_such_call", *_MKNOD)), ask=("mknod:/tmp/x",)),
    Row("seccomp-empty", _profile()),
    Row(
        "seccomp-two-architectures",
        _profile(_rule("ERRNO", *_MKNOD), architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]),
        ask=("mknod:/tmp/x",),
    ),
    Row(
        "seccomp-another-processors-architecture",
        _profile(_rule("ERRNO", *_MKNOD), architectures=["SCMP_ARCH_AARCH64"]),
        ask=("mknod:/tmp/x",),
    ),
    Row("seccomp-architecture-unknown", _profile(architectures=["SCMP_ARCH_PDP11"])),
    Row("seccomp-flags", _profile(flags=["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"])),
    Row("seccomp-flag-unknown", _profile(flags=["SECCOMP_FILTER_FLAG_NOSUCH"])),
    Row("seccomp-notify-without-a-listener", _profile(_rule("NOTIFY", *_MKNOD))),
    Row(
        "seccomp-without-no-new-privileges",
        {**_profile(_rule("ERRNO", *_MKNOD)), "process.noNewPrivileges": False},
        ask=("mknod:/tmp/x",),
    ),
    Row(
        "seccomp-of-a-user",
        {**_profile(_rule("ERRNO", *_MKNOD)), "process.user": {"uid": 1000, "gid": 1000}},
        ask=("mknod:/tmp/x",),
    ),
    Row(
        "exec-seccomp",
        _profile(_rule("ERRNO", *_MKNOD, errnoRet=18)),
        ask=("mknod:/tmp/x",),
        process={},
    ),
]  # fmt: skip
