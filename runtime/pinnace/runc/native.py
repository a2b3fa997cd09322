"""The container's side without Python: a description of its steps for ``runtime/native/init.c``.

What ``init.py``, ``rootfs.py``, ``devices.py`` and ``process.py`` do between fork and exec is, for nearly every
configuration, a list that is known beforehand. Here the list is made; the native init takes the steps. A process that
waits for its start then has 100 KB of memory in place of an interpreter's 10 MB, and smaller limits are enough to
start in. What this does not describe (``_reason`` and ``_Unfit``), wrong configurations among it, is left to Python:
same steps, same order, same result.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import resource
import stat
import struct
import sys
from collections.abc import Iterable
from typing import Any

from pinnace.errors import Error
from pinnace.linux import caller, sealed
from pinnace.linux import mount as mnt
from pinnace.linux.cgroups import Cgroup
from pinnace.linux.cgroups.v1 import LegacyCgroup
from pinnace.linux.kernel import (
    CLONE_FS,
    CLONE_NEWCGROUP,
    KERNEL,
    NAMESPACES,
    RESOLVE_IN_ROOT,
)
from pinnace.linux.mount import MountOptions, parse_options
from pinnace.runc import devices, hooks, sysctl, waiting
from pinnace.runc.channel import EXECUTED, LOOKED_UP, PLAIN, WORDS
from pinnace.runc.launch import Launch
from pinnace.runc.namespaces import Plan
from pinnace.runc.process import environment_of, limit_of
from pinnace.spec.runtime import PROC_FILES

PROGRAM = os.path.abspath(f"{__file__}/../../../../libexec/init")
"""The native init of this release; a checkout has none."""

_MAGIC = 0x3174696E69636E70
_NONE = 0xFFFFFFFF  # no descriptor
# The position is the step's number: runtime/native/init.c has the same list.
_STEPS = (
    "", "about", "optional", "keep", "setns", "unshare", "fork", "keyring", "name", "loopback", "hostname",
    "domainname", "allowed", "root", "mount", "bind", "propagate", "attributes", "remount", "directory", "device",
    "link", "readonly", "mask", "remount root", "pivot", "enter", "tell", "expect", "setting", "close on exec",
    "stdio", "limit", "environment", "filter", "bounding", "change directory", "identity", "capabilities",
    "no new privileges", "program", "start", "execute", "groups", "wait",
)  # fmt: skip
_NUMBERS = {name: number for number, name in enumerate(_STEPS)}
_BIND = mnt.MS_BIND | mnt.MS_REC
_CGROUP_FLAGS = mnt.MS_NOSUID | mnt.MS_NODEV | mnt.MS_NOEXEC
_ORDINARY_ROOTS = ("", "slave", "rslave", "private", "rprivate")
_U64 = struct.Struct("=Q")
_MOST = 0xFFFFFFFFFFFFFFFF
_KEPT = 256
"""Steps, and other parts of a description, that are remembered; those of the default configuration are about a hundred."""
_PADDING = [bytes(8 - over) for over in range(8)]
_ENCODING = (
    sys.getfilesystemencoding(),
    sys.getfilesystemencodeerrors(),
)  # what os.fsencode asks for each time


class _Unfit(Exception):
    """The description can't say this."""


_Field = str | bytes | int | tuple[str, ...]


class Description:
    """Steps in their binary form; ``init.c`` says what it is."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts = [_U64.pack(_MAGIC)]

    def add(self, step: str, *fields: _Field) -> None:
        """Append a step. Raises ``_Unfit`` for a text with a zero byte in it."""
        self._parts.append(_step(step, *fields))

    def add_own(self, step: str, *fields: _Field) -> None:
        """The same for one that no other container has: it is not kept."""
        self._parts.append(_step.__wrapped__(step, *fields))

    def about(self, text: str, status: int = Error.grpc_status, style: int = PLAIN) -> None:
        """What is said when one of the steps from here on fails."""
        self._parts.append(_about(text, status, style))

    def data(self) -> bytes:
        return b"".join(self._parts)


# Most steps are the same for every container: the keeper's spare has them ready (``cli/rehearsal.py``).
@functools.lru_cache(_KEPT)
def _step(step: str, *fields: _Field) -> bytes:
    number = _U64.pack
    parts = [number(_NUMBERS[step])]
    for field in fields:
        if isinstance(field, int):
            parts.append(number(field & _MOST))
        elif isinstance(field, tuple):
            parts.append(number(len(field)))
            parts += map(_text, field)
        else:
            parts.append(_text(field))
    return b"".join(parts)


@functools.lru_cache(_KEPT)
def _about(text: str, status: int, style: int) -> bytes:
    return _step("about", _quoted(text), status, style)


@functools.lru_cache(_KEPT)
def _place(path: str) -> str:
    """A path in the container, from its root and without detours."""
    return os.path.normpath("/" + path.lstrip("/"))


def _text(value: str | bytes) -> bytes:
    if isinstance(value, str):
        value = value.encode(*_ENCODING)
        if b"\0" in value:
            raise _Unfit
    size = len(value)
    return _U64.pack(size) + value + _PADDING[size % 8]


def _quoted(text: str) -> str:
    """As it stands in a JSON string."""
    return json.dumps(text)[1:-1]


def spawn(launch: Launch, description: bytes, namespaces: Iterable[int] = ()) -> int:
    """Start the native init with ``description``; its process id, 0 for who is not our child. Raises OSError.

    ``namespaces`` are the descriptors of those that it enters.
    """
    steps = os.memfd_create("init", os.MFD_CLOEXEC)
    try:
        os.write(steps, description)
        channel = launch.channel.socket.fileno()
        kept = (*launch.needed(), *namespaces, steps)
        if launch.waiting is not None:
            launch.waiting.give(channel, steps, kept)
            return launch.waiting.pid
        return _start(launch, channel, steps, kept)
    finally:
        os.close(steps)


def _start(launch: Launch, channel: int, steps: int, kept: tuple[int, ...]) -> int:
    """Execute the native init now; as ``spawn``. The creator closes ``launch.program``."""
    launch.program = sealed.open_program(PROGRAM)
    if caller.spawn(launch.program, channel, steps, kept):
        return 0
    # A descriptor made its own copy loses close-on-exec.
    actions = [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in kept]
    words = ["pinnace:init", str(channel), str(steps)]
    return os.posix_spawn(f"/proc/self/fd/{launch.program}", words, {}, file_actions=actions)


def prepare() -> None:
    """Start an init that waits for :func:`take_waiting`, unless it would be of no use."""
    if os.access(PROGRAM, os.X_OK) and _resolves("/"):
        with contextlib.suppress(OSError):  # no process to be had: later there may be
            waiting.prepare(PROGRAM)


def take_waiting(launch: Launch, *, own_network: bool) -> None:
    """Have the init that waits, if there is one, take the steps that will be described for ``launch``."""
    fits = _is_plain(launch) and not caller.leaves_behind() and launch.preserved == 0
    launch.waiting = waiting.take(own_network=own_network) if fits else None


def creation(launch: Launch, *, held: bool = False) -> bytes | None:
    """The steps of a container's first process; None for what takes Python.

    One that is ``held`` is started through the channel, by its creator alone.
    """
    try:
        return None if _takes_python(launch) else _creation(launch, held=held)
    except (_Unfit, Error):
        return None  # Python says what is wrong with it, at the usual place


def joining(launch: Launch, held: dict[str, int]) -> bytes | None:
    """The steps of a further process, which enters the namespaces ``held``; None for what takes Python."""
    affinity = launch.affinity
    if "user" in held or affinity.initial or affinity.final or not _is_plain(launch):
        return None
    try:
        return _joining(launch, held)
    except (_Unfit, Error):
        return None


def _is_plain(launch: Launch) -> bool:
    """Whether there is a native init and the process asks for nothing that it doesn't do."""
    process, notifies = launch.process, launch.privileges.filter
    return not (
        launch.kernel is not KERNEL
        or launch.by_user
        or launch.stdio is None
        or launch.scheduling is not None
        or process.get("apparmorProfile")
        or process.get("selinuxLabel")
        or (notifies is not None and notifies.notifies)
        or not os.access(PROGRAM, os.X_OK)
    )


def _takes_python(launch: Launch) -> bool:
    spec, plan = launch.spec, launch.plan
    linux = spec.get("linux") or {}
    own = plan.own() if plan else set()
    return (
        not _is_plain(launch)
        or bool(own & {"user", "time"})
        or not launch.pivot
        or bool(launch.trees)
        or bool(linux.get("mountLabel"))
        or (linux.get("rootfsPropagation") or "") not in _ORDINARY_ROOTS
        or bool((spec.get("hostname") or spec.get("domainname")) and "uts" not in own)
        or hooks.named(spec, "createContainer", "startContainer")
        or not _resolves(os.path.join(launch.bundle, spec["root"]["path"]))
    )


def _resolves(root: str) -> bool:
    """Whether the root is a directory, and the kernel resolves paths inside of it (openat2, Linux 5.6)."""
    try:
        place = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.close(KERNEL.openat2(place, ".", os.O_PATH, 0, RESOLVE_IN_ROOT))
    except OSError:
        return False
    finally:
        os.close(place)
    return True


def _creation(launch: Launch, *, held: bool) -> bytes:
    plan, listener, spec = launch.plan, launch.listener, launch.spec
    if plan is None or listener is None:
        raise _Unfit
    to = Description()
    _enter_namespaces(to, launch, plan)
    if launch.keyring:
        to.add("keyring")
    to.add("name", "pinnace:init")
    if "network" in plan.made and not _has_network(launch):
        to.add("loopback")
    for name in ("hostname", "domainname"):
        if spec.get(name):
            to.about(f"{spec[name]}: ")
            to.add(name, spec[name])
    waiting = _Waiting(to, launch, plan)
    _Root(to, launch, plan, waiting).describe()
    waiting()
    _become(to, launch)
    to.add("tell", '{"ready":true}')
    to.add("expect", '"created"')
    if not held:
        to.add("start", listener.fileno())
    _execute(to)
    return to.data()


def _has_network(launch: Launch) -> bool:
    """Whether the process is in a network namespace of its own already, with loopback up."""
    return launch.waiting is not None and launch.waiting.has_network


def _joining(launch: Launch, held: dict[str, int]) -> bytes:
    to = Description()
    to.add("keep", *_descriptors(launch, held.values()))
    # Not the cgroup namespace yet: from inside, the way into the container's group looks forbidden.
    for kind, fd in held.items():
        if kind != "cgroup":
            to.add("setns", fd, NAMESPACES[kind][0])
    _fork(to, launch)
    if "cgroup" in held:
        to.add("setns", held["cgroup"], CLONE_NEWCGROUP)
    to.add("keyring")
    if launch.entry is not None:
        _enter_groups(to, launch)
    to.add("expect", '"joined"')
    _become(to, launch)
    to.add("tell", '{"ready":true}')
    _execute(to)
    return to.data()


def _descriptors(launch: Launch, more: Iterable[int]) -> list[int]:
    """The count of descriptors to keep, then each, in rising order."""
    keep = sorted({*launch.needed(), *more})
    return [len(keep), *keep]


def _enter_namespaces(to: Description, launch: Launch, plan: Plan) -> None:
    to.add("keep", *_descriptors(launch, plan.joined.values()))
    for kind, (flag, _) in NAMESPACES.items():
        if kind in plan.joined:
            to.about(f"{kind} namespace: ")
            to.add("setns", plan.joined[kind], flag)
    flags = CLONE_FS
    made = plan.made - {"cgroup"} - ({"network"} if _has_network(launch) else set())
    for kind in made:
        flags |= NAMESPACES[kind][0]
    to.about(f"{'+'.join(sorted(plan.made))} namespace: ")
    to.add("unshare", flags)
    to.about("")
    _fork(to, launch)


def _fork(to: Description, launch: Launch) -> None:
    group = _NONE if launch.entry is None or launch.entry.is_inside else launch.entry.unified
    to.add("fork", group)


def _enter_groups(to: Description, launch: Launch) -> None:
    tasks = launch.entry.tasks if launch.entry is not None else []
    to.about("control group: ")
    if launch.later_groups:
        to.add("groups", launch.later_groups)
    else:
        to.add("enter", len(tasks), *tasks)
    to.about("")


class _Waiting:
    """The steps into the control group and its namespace, once."""

    def __init__(self, to: Description, launch: Launch, plan: Plan) -> None:
        self._to = to
        self._launch = launch
        self._plan = plan
        self._done = False

    def __call__(self) -> None:
        if self._done:
            return
        self._done = True
        if self._launch.entry is not None:
            _enter_groups(self._to, self._launch)
        self._to.add("wait", int(self._launch.is_attended))
        if "cgroup" in self._plan.made:
            self._to.add("unshare", CLONE_NEWCGROUP)


class _Root:
    """The root, from the first mount to the pivot: what ``rootfs.py`` does."""

    def __init__(self, to: Description, launch: Launch, plan: Plan, waiting: _Waiting) -> None:
        self._to = to
        self._launch = launch
        self._own = plan.own()
        self._waiting = waiting

    def describe(self) -> None:
        to, launch, spec = self._to, self._launch, self._launch.spec
        linux = spec.get("linux") or {}
        propagation = mnt.PROPAGATION[linux.get("rootfsPropagation") or "rslave"]
        to.add("allowed", tuple(sorted(PROC_FILES)))
        path = os.path.realpath(os.path.join(launch.bundle, spec["root"]["path"]))
        to.about(f"root file system {path}: ")
        to.add("root", path, propagation)
        has_own_dev = True
        for item in spec.get("mounts") or ():
            has_own_dev = self._mount(item) and has_own_dev
        if has_own_dev:
            self._devices(linux.get("devices") or [])
        self._finish_dev(spec.get("mounts") or ())
        for place, value in sysctl.checked(linux.get("sysctl") or {}, self._own):
            to.about(f"{place}: ")
            to.add("setting", place, value)
        to.add("optional")
        to.add("directory", _place(launch.process["cwd"]))
        self._protect(linux)
        to.about("pivot_root: ")
        to.add("pivot")
        to.about("")

    def _mount(self, item: dict[str, Any]) -> bool:
        """One mount; false when it puts the host's devices in /dev."""
        parsed = parse_options(item.get("options") or [])
        target = _place(item["destination"])
        kind = item.get("type") or ""
        is_bind = bool(parsed.flags & mnt.MS_BIND) or kind == "bind"
        if parsed.copy_up or (target.startswith("/proc/") and target not in PROC_FILES):
            raise _Unfit
        what = item.get("source") or kind
        self._to.about(f"error mounting {what} to rootfs at {item['destination']}: ")
        if kind in ("cgroup", "cgroup2"):
            self._waiting()
            self._to.about(f"error mounting {what} to rootfs at {item['destination']}: ")
        if is_bind:
            self._bind(item, target, parsed)
        elif kind in ("cgroup", "cgroup2"):
            _mount_cgroups(self._to, target, parsed, self._launch.cgroup, "cgroup" in self._named())
        else:
            self._file_system(item, target, kind, parsed)
        return not (kind == "bind" and item["destination"].rstrip("/") == "/dev")

    def _named(self) -> list[str]:
        linux = self._launch.spec.get("linux") or {}
        return [item["type"] for item in linux.get("namespaces") or ()]

    def _bind(self, item: dict[str, Any], target: str, parsed: MountOptions) -> None:
        if (
            not item.get("source")
            or parsed.data
            or target == "/proc"
            or len(parsed.propagation) > 1
        ):
            raise _Unfit
        flags = parsed.flags & ~_BIND
        self._to.add(
            "bind", os.path.join(self._launch.bundle, item["source"]), target, parsed.flags & _BIND,
            int(bool(flags or parsed.clear)), flags, sum(parsed.propagation), *parsed.recursive,
        )  # fmt: skip

    def _file_system(
        self, item: dict[str, Any], target: str, kind: str, parsed: MountOptions
    ) -> None:
        flags = parsed.flags
        if target == "/dev":
            flags &= ~mnt.MS_RDONLY  # it is to be filled
        keeps_mode = kind == "tmpfs" and "mode=" not in parsed.data
        self._to.add(
            "mount", item.get("source") or kind, target, kind, parsed.data, flags,
            int(kind in ("proc", "sysfs")), int(keeps_mode),
        )  # fmt: skip
        self._change(target, parsed)

    def _change(self, target: str, parsed: MountOptions) -> None:
        for propagation in parsed.propagation:
            self._to.add("propagate", target, propagation)
        if any(parsed.recursive):
            self._to.add("attributes", target, *parsed.recursive)

    def _devices(self, configured: list[dict[str, Any]]) -> None:
        for item in devices.wanted(configured):
            path = "/" + item["path"].lstrip("/")
            self._to.about(f"{path}: ")
            mode = devices.KINDS[item["type"]] | stat.S_IMODE(devices.mode_of(item))
            numbers = (item.get(key) or 0 for key in ("major", "minor", "uid", "gid"))
            self._to.add("device", path, mode, *numbers)
        for target, path in devices.links():
            self._to.about(f"{path}: ")
            self._to.add("link", target, path, int(path == devices.PTMX))

    def _finish_dev(self, mounts: Iterable[dict[str, Any]]) -> None:
        for item in mounts:
            if item["destination"].rstrip("/") == "/dev" and item.get("type") == "tmpfs":
                flags = parse_options(item.get("options") or []).flags
                if flags & mnt.MS_RDONLY:
                    self._to.about("/dev: ")
                    self._to.add("remount", "/dev", flags)

    def _protect(self, linux: dict[str, Any]) -> None:
        for step, key in (("readonly", "readonlyPaths"), ("mask", "maskedPaths")):
            for path in linux.get(key) or ():
                self._to.about(f"{path}: ")
                self._to.add(step, path)
        flags = mnt.MS_RDONLY if self._launch.spec["root"].get("readonly") else 0
        flags |= mnt.MS_NODEV if self._launch.no_devices else 0
        if flags:
            self._to.about("root file system: ")
            self._to.add("remount root", flags)


def _mount_cgroups(
    to: Description, target: str, parsed: MountOptions, cgroup: Cgroup | None, own: bool
) -> None:
    """What ``cgroupfs.mount_cgroups`` does."""
    if cgroup is None:
        return
    if not isinstance(cgroup, LegacyCgroup):
        to.add("mount", "cgroup", target, "cgroup2", parsed.data, parsed.flags, 0, 0)
        return
    to.add("mount", "tmpfs", target, "tmpfs", "mode=755", _CGROUP_FLAGS, 0, 0)
    together: dict[str, list[str]] = {}
    for controller, mounted in cgroup.hierarchies.items():
        together.setdefault(mounted, []).append(controller)
    for mounted, controllers in together.items():
        name = os.path.basename(mounted)
        inner, data = f"{target}/{name}", ",".join(controllers)
        if own:
            to.add("mount", "cgroup", inner, "cgroup", data, parsed.flags, 0, 0)
        else:
            _show_group(to, inner, mounted + cgroup.path, parsed.flags)
        for controller in controllers:
            if controller != name and "=" not in controller:
                to.add("link", name, f"{target}/{controller}", 0)
    if cgroup.unified_root:
        to.add("optional")
        if own:
            to.add("mount", "cgroup2", f"{target}/unified", "cgroup2", "", parsed.flags, 0, 0)
        else:
            place = cgroup.unified_root + cgroup.path
            _show_group(to, f"{target}/unified", place, parsed.flags)
    if parsed.flags & mnt.MS_RDONLY:
        to.add("remount", target, _CGROUP_FLAGS | mnt.MS_RDONLY)


def _show_group(to: Description, target: str, group: str, flags: int) -> None:
    """Without a cgroup namespace: the directory of the container's own group."""
    to.add("bind", group, target, _BIND, 1, flags, 0, 0, 0)


def _become(to: Description, launch: Launch) -> None:
    """The last steps before the program: what ``init.set_stdio`` and ``process.prepare`` do."""
    if launch.stdio is None:
        raise _Unfit
    process, privileges = launch.process, launch.privileges
    to.about("/dev/null of the container: ")
    to.add("stdio", *launch.stdio)
    to.about("")
    to.add("close on exec", launch.first_other())
    for item in process.get("rlimits") or ():
        _limit(to, item)
    user = process.get("user") or {}
    uid, gid = int(user.get("uid") or 0), int(user.get("gid") or 0)
    environment = environment_of(process)
    words = tuple(f"{key}={value}" for key, value in environment.items())
    to.add_own("environment", words, "" if "HOME" in environment else str(uid))
    no_new_privileges = bool(process.get("noNewPrivileges"))
    if privileges.filter is not None:
        # Without no_new_privs this takes CAP_SYS_ADMIN, which goes away below.
        last = int(no_new_privileges)
        to.add_own("filter", privileges.filter.flags, last, privileges.filter.program)
    sets = privileges.sets
    to.add("bounding", sets["bounding"], privileges.bounding)
    change_directory = f"chdir to cwd ({process['cwd']!r}) set in config.json failed: "
    to.about(change_directory, style=WORDS)
    to.add("change directory", process["cwd"], 0)
    to.about("")
    groups = [int(group) for group in user.get("additionalGids") or ()]
    umask = user.get("umask")
    to.add("identity", uid, gid, 0o022 if umask is None else umask, len(groups), *groups)
    to.about(change_directory, style=WORDS)
    to.add("change directory", process["cwd"], 1)
    to.about("")
    to.add(
        "capabilities",
        *(sets[name] for name in ("effective", "permitted", "inheritable", "ambient")),
    )
    if no_new_privileges:
        to.add("no new privileges")
    _program(to, process["args"], environment)


def _limit(to: Description, item: dict[str, Any]) -> None:
    name = str(item.get("type"))
    number = getattr(resource, name, None)
    if not name.startswith("RLIMIT_") or number is None:
        raise _Unfit
    to.about(f"setting {name} to {item['soft']}:{item['hard']}: ")
    to.add("limit", number, limit_of(item["soft"]), limit_of(item["hard"]))
    to.about("")


def _program(to: Description, arguments: list[str], environment: dict[str, str]) -> None:
    name = arguments[0]
    candidates = [name]
    if "/" not in name:
        directories = environment.get("PATH", "").split(":")
        candidates = [f"{directory or '.'}/{name}" for directory in directories]
    to.about(f'exec: "{name}": ', style=LOOKED_UP)
    spelled = tuple(_quoted(path) for path in candidates)
    to.add_own("program", tuple(arguments), int("/" in name), tuple(candidates), spelled)
    to.about("")


def _execute(to: Description) -> None:
    to.about("", style=EXECUTED)
    to.add("execute")
