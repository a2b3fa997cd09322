"""The runtime specification's schemas of config.json and of the features structure, in a form of our own.

Facts are those of schema/*.json of runtime-spec 1.2. A schema is a function that raises ``Wrong`` for a value
that is not so; ``record`` knows which keys an object must have. Other keys are allowed, as the specification
has it; ``closed`` says no to them, for what we write ourselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

Schema = Callable[[Any, str], None]


class Wrong(Exception):
    """The value at a path is not what the schema says."""


def _fail(path: str, value: object, wanted: str) -> None:
    raise Wrong(f"{path or 'the whole'}: {value!r} is not {wanted}")


def text(pattern: str = "") -> Schema:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, str) or not re.search(pattern, value):
            _fail(path, value, f"a text {pattern}")

    return check


def one_of(words: Iterable[str]) -> Schema:
    known = set(words)

    def check(value: Any, path: str) -> None:
        if value not in known:
            _fail(path, value, f"one of {sorted(known)}")

    return check


def integer(low: int, high: int) -> Schema:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            _fail(path, value, f"an integer from {low} to {high}")

    return check


def boolean(value: Any, path: str) -> None:
    if not isinstance(value, bool):
        _fail(path, value, "true or false")


def array(item: Schema, least: int = 0) -> Schema:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, list) or len(value) < least:
            _fail(path, value, f"an array of at least {least}")
        for index, each in enumerate(value):
            item(each, f"{path}[{index}]")

    return check


def record(required: str = "", /, **keys: Schema) -> Schema:
    """An object that must have the keys ``required``, words in one text; other keys are allowed."""
    return _record(required, keys, closed=False)


def closed(required: str = "", /, **keys: Schema) -> Schema:
    """The same without other keys."""
    return _record(required, keys, closed=True)


def _record(required: str, keys: dict[str, Schema], *, closed: bool) -> Schema:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, dict):
            _fail(path, value, "an object")
        missing = set(required.split()) - set(value)
        if missing:
            _fail(path, sorted(value), f"complete: {sorted(missing)} is missing")
        for key, found in value.items():
            if key in keys:
                keys[key](found, f"{path}.{key}")
            elif closed:
                _fail(f"{path}.{key}", found, "known")

    return check


def mapping(item: Schema) -> Schema:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, dict):
            _fail(path, value, "an object")
        for key, found in value.items():
            item(found, f"{path}.{key}")

    return check


ANY = text()
TEXTS = array(ANY)
I32, I64 = integer(-(1 << 31), (1 << 31) - 1), integer(-(1 << 63), (1 << 63) - 1)
U16, U32, U64 = (integer(0, (1 << bits) - 1) for bits in (16, 32, 64))
VERSION = text(r"^\d+\.\d+\.\d+(-[a-z0-9.+-]+)?$")
NAMESPACE = one_of(["mount", "pid", "network", "uts", "ipc", "user", "cgroup", "time"])
ACTION = one_of(
    f"SCMP_ACT_{name}"
    for name in [
        "KILL",
        "KILL_PROCESS",
        "KILL_THREAD",
        "TRAP",
        "ERRNO",
        "TRACE",
        "ALLOW",
        "LOG",
        "NOTIFY",
    ]
)
OPERATOR = one_of(f"SCMP_CMP_{name}" for name in ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"])
ARCHITECTURE = one_of(
    f"SCMP_ARCH_{name}"
    for name in [
        "X86",
        "X86_64",
        "X32",
        "ARM",
        "AARCH64",
        "MIPS",
        "MIPS64",
        "MIPS64N32",
        "MIPSEL",
        "MIPSEL64",
        "MIPSEL64N32",
        "PPC",
        "PPC64",
        "PPC64LE",
        "S390",
        "S390X",
        "PARISC",
        "PARISC64",
        "RISCV64",
        "LOONGARCH64",
        "M68K",
        "SH",
        "SHEB",
    ]
)
FLAG = one_of(
    f"SECCOMP_FILTER_FLAG_{name}" for name in ["TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV"]
)
ID_MAPPINGS = array(record("containerID hostID size", containerID=U32, hostID=U32, size=U32))
_HOOKS = array(record("path", path=ANY, args=TEXTS, env=TEXTS, timeout=integer(1, 1 << 31)))
HOOK_NAMES = [
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
]

_PROCESS = record(
    "cwd",
    args=TEXTS,
    env=TEXTS,
    cwd=ANY,
    terminal=boolean,
    consoleSize=record("height width", height=U64, width=U64),
    user=record(uid=U32, gid=U32, umask=U32, additionalGids=array(U32), username=ANY),
    capabilities=record(
        **dict.fromkeys(["bounding", "permitted", "effective", "inheritable", "ambient"], TEXTS)
    ),
    apparmorProfile=ANY,
    selinuxLabel=ANY,
    oomScoreAdj=I32,
    noNewPrivileges=boolean,
    ioPriority=record(
        "class",
        **{"class": one_of(f"IOPRIO_CLASS_{name}" for name in ["RT", "BE", "IDLE"])},
        priority=I32,
    ),
    scheduler=record(
        "policy",
        policy=text("^SCHED_"),
        nice=I32,
        priority=I32,
        flags=array(text("^SCHED_FLAG_")),
        runtime=U64,
        deadline=U64,
        period=U64,
    ),
    rlimits=array(record("type soft hard", type=text("^RLIMIT_[A-Z]+$"), soft=U64, hard=U64)),
    execCPUAffinity=record(initial=text("^[0-9, -]*$"), final=text("^[0-9, -]*$")),
)
_THROTTLE = array(record("major minor", major=I64, minor=I64, rate=U64))
_RESOURCES = record(
    devices=array(record("allow", allow=boolean, type=ANY, major=I64, minor=I64, access=ANY)),
    memory=record(
        limit=I64,
        reservation=I64,
        swap=I64,
        swappiness=integer(0, 100),
        disableOOMKiller=boolean,
        useHierarchy=boolean,
    ),
    cpu=record(
        shares=U64, quota=I64, burst=U64, period=U64, cpus=ANY, mems=ANY, idle=I64,
        realtimeRuntime=I64, realtimePeriod=U64,
    ),
    pids=record("limit", limit=I64),
    blockIO=record(
        weight=U16,
        leafWeight=U16,
        throttleReadBpsDevice=_THROTTLE,
        throttleWriteBpsDevice=_THROTTLE,
        throttleReadIOPSDevice=_THROTTLE,
        throttleWriteIOPSDevice=_THROTTLE,
    ),
    hugepageLimits=array(record("pageSize limit", pageSize=text("^[1-9][0-9]*[KMG]B$"), limit=U64)),
    network=record(
        classID=U32, priorities=array(record("name priority", name=ANY, priority=U32))
    ),
    rdma=mapping(record(hcaHandles=U32, hcaObjects=U32)),
    unified=mapping(ANY),
)  # fmt: skip
_OFFSET = record(secs=I64, nanosecs=U32)
_LINUX = record(
    namespaces=array(record("type", type=NAMESPACE, path=ANY)),
    uidMappings=ID_MAPPINGS,
    gidMappings=ID_MAPPINGS,
    timeOffsets=mapping(_OFFSET),
    devices=array(
        record(
            "type path",
            type=text("^[cbup]$"),
            path=ANY,
            major=I64,
            minor=I64,
            fileMode=integer(0, 512),
            uid=U32,
            gid=U32,
        )
    ),
    cgroupsPath=ANY,
    resources=_RESOURCES,
    rootfsPropagation=one_of(["private", "shared", "slave", "unbindable"]),
    seccomp=record(
        "defaultAction",
        defaultAction=ACTION,
        defaultErrnoRet=U32,
        flags=array(FLAG),
        architectures=array(ARCHITECTURE),
        listenerPath=ANY,
        listenerMetadata=ANY,
        syscalls=array(
            record(
                "names action",
                names=array(ANY, 1),
                action=ACTION,
                errnoRet=U32,
                args=array(
                    record("index value op", index=U32, value=U64, valueTwo=U64, op=OPERATOR)
                ),
            )
        ),
    ),
    sysctl=mapping(ANY),
    maskedPaths=TEXTS,
    readonlyPaths=TEXTS,
    mountLabel=ANY,
    intelRdt=record(closID=ANY, l3CacheSchema=ANY, memBwSchema=text("^MB:"), schemata=TEXTS),
    personality=record("domain", domain=one_of(["LINUX", "LINUX32"]), flags=TEXTS),
    netDevices=mapping(record(name=ANY)),
)

CONFIG = closed(
    "ociVersion",
    ociVersion=VERSION,
    root=record("path", path=ANY, readonly=boolean),
    process=_PROCESS,
    hostname=ANY,
    domainname=ANY,
    mounts=array(
        record(
            "destination",
            destination=ANY,
            type=ANY,
            source=ANY,
            options=TEXTS,
            uidMappings=ID_MAPPINGS,
            gidMappings=ID_MAPPINGS,
        )
    ),
    hooks=closed(**dict.fromkeys(HOOK_NAMES, _HOOKS)),
    annotations=mapping(ANY),
    linux=_LINUX,
)

_ENABLED = closed(enabled=boolean)

FEATURES = closed(
    "ociVersionMin ociVersionMax",
    ociVersionMin=VERSION,
    ociVersionMax=VERSION,
    hooks=array(one_of(HOOK_NAMES)),
    mountOptions=TEXTS,
    annotations=mapping(ANY),
    potentiallyUnsafeConfigAnnotations=TEXTS,
    linux=closed(
        namespaces=array(NAMESPACE),
        capabilities=array(text("^CAP_[A-Z_]+$")),
        cgroup=closed(**dict.fromkeys(["v1", "v2", "systemd", "systemdUser", "rdma"], boolean)),
        seccomp=closed(
            enabled=boolean,
            actions=array(ACTION),
            operators=array(OPERATOR),
            archs=array(ARCHITECTURE),
            knownFlags=array(FLAG),
            supportedFlags=array(FLAG),
        ),
        apparmor=_ENABLED,
        selinux=_ENABLED,
        intelRdt=_ENABLED,
        mountExtensions=closed(idmap=_ENABLED),
        netDevices=_ENABLED,
    ),
)
