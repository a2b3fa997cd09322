"""The last steps of a process on its way into a container: limits, user, capabilities, exec.

Used by the init process and by exec'd ones alike; the order is that of runc's
finalizeNamespace, in which each step still has the privilege it needs.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pinnace.errors import Error, InvalidArgument
from pinnace.linux import capabilities, resolve
from pinnace.linux.kernel import PR_SET_KEEPCAPS, PR_SET_NO_NEW_PRIVS, Kernel
from pinnace.runc import executable

if TYPE_CHECKING:
    from pinnace.linux import seccomp

_PASSWD_LIMIT = 1 << 20


class Prepared:
    """A process ready to become the container's program."""

    __slots__ = ("arguments", "environment", "load_filter", "path")

    def __init__(
        self, path: str, arguments: list[str], environment: dict[str, str],
        load_filter: Callable[[], None] | None,
    ) -> None:  # fmt: skip
        self.path = path
        self.arguments = arguments
        self.environment = environment
        self.load_filter = load_filter

    def execute(self) -> None:
        """Become the program; returns only by raising Error, as runc words it."""
        if self.load_filter is not None:
            self.load_filter()
        try:
            os.execve(self.path, self.arguments, self.environment)  # noqa: S606 (no shell wanted)
        except OSError as problem:
            raise Error(f"exec {self.path}: {executable.words(problem.errno)}") from None


class Privileges:
    """What is looked up on the host, because nothing can be trusted once inside.

    libseccomp is loaded from the host's files, capabilities are read from the host's /proc.
    """

    __slots__ = ("available", "bounding", "filter", "sets", "warnings")

    def __init__(
        self, process: dict[str, Any], profile: dict[str, Any] | None, *, own_users: bool = False
    ) -> None:
        """Raises InvalidArgument for a wrong seccomp profile.

        With ``own_users`` the process will be root of a user namespace, which has every capability,
        whatever this one has: none is missing, and none may be forgotten when they are dropped.

        A capability that is unknown, or that this process lacks itself, can't be given: left out with
        a warning, as config.md ("capabilities") demands.
        """
        permitted, self.bounding = (capabilities.every(),) * 2 if own_users else capabilities.held()
        self.available = permitted & self.bounding
        configured = process.get("capabilities") or {}
        self.sets = {
            name: capabilities.mask(capabilities.known(configured.get(name) or ())) & self.available
            for name in capabilities.SETS
        }
        self.warnings = _not_given(configured, self.available)
        self.filter = _filter(profile) if profile else None

    def drop(self, name: str) -> None:
        """Take a capability out of every set."""
        bit = capabilities.mask([name])
        self.sets = {kind: bits & ~bit for kind, bits in self.sets.items()}


def _filter(profile: dict[str, Any]) -> seccomp.Filter:
    from pinnace.linux import seccomp  # what only a profile needs

    return seccomp.Filter(profile)


def _not_given(configured: dict[str, list[str]], available: int) -> tuple[str, ...]:
    given = set(capabilities.names(available))
    refused = {name for kind in capabilities.SETS for name in configured.get(kind) or ()} - given
    if not refused:
        return ()
    return (f"ignoring unknown or unavailable capabilities: {', '.join(sorted(refused))}",)


def prepare(
    kernel: Kernel, process: dict[str, Any], privileges: Privileges, load_filter: Callable[[], None]
) -> Prepared:
    """Turn the calling process, already in the namespaces and the root, into the configured one.

    ``load_filter`` loads the seccomp filter, if there is one; with noNewPrivileges that is left to
    ``execute``, so that the filter sees as little as possible of what is done here.

    Raises Error and OSError; afterwards only ``execute`` is left to do.
    """
    set_limits(process.get("rlimits") or ())
    environment = environment_of(process)
    user = process.get("user") or {}
    uid, gid = int(user.get("uid") or 0), int(user.get("gid") or 0)
    if "HOME" not in environment:
        environment["HOME"] = home_of(uid)
    no_new_privileges = bool(process.get("noNewPrivileges"))
    filtered = privileges.filter is not None
    if filtered and not no_new_privileges:
        # Without no_new_privs this takes CAP_SYS_ADMIN, which goes away below.
        load_filter()
    sets = privileges.sets
    capabilities.drop_bounding(kernel, sets["bounding"], privileges.bounding)
    refused = _change_directory(process["cwd"])
    _change_user(kernel, user, uid, gid)
    if refused and (refused := _change_directory(process["cwd"])):
        # Only the user may go there (NFS, FUSE), or nobody.
        raise _no_directory(process["cwd"], refused)
    capabilities.apply(
        kernel, sets["effective"], sets["permitted"], sets["inheritable"], sets["ambient"]
    )
    if no_new_privileges:
        kernel.prctl(PR_SET_NO_NEW_PRIVS, 1)
    arguments = list(process["args"])
    path = executable.find(arguments[0], environment)
    later = load_filter if filtered and no_new_privileges else None
    return Prepared(path, arguments, environment, later)


def environment_of(process: dict[str, Any]) -> dict[str, str]:
    """``KEY=value`` words as a mapping; of two with one key the later counts."""
    return dict(word.partition("=")[::2] for word in process.get("env") or () if "=" in word)


def set_limits(limits: Any) -> None:
    """setrlimit(2) for each. Raises InvalidArgument for an unknown one, Error when refused."""
    for item in limits:
        name = str(item.get("type"))
        number = getattr(resource, name, None)
        if not name.startswith("RLIMIT_") or number is None:
            raise InvalidArgument(f"process.rlimits: unknown limit {name!r}")
        soft, hard = (limit_of(item[key]) for key in ("soft", "hard"))
        try:
            resource.setrlimit(number, (soft, hard))
        except (OSError, ValueError) as problem:
            raise Error(f"setting {name} to {item['soft']}:{item['hard']}: {problem}") from None


def limit_of(value: int) -> int:
    """Go's clients say 2**64-1 (or -1) for no limit."""
    return resource.RLIM_INFINITY if value < 0 or value >= 1 << 63 else value


def home_of(uid: int) -> str:
    """The home directory that the container's /etc/passwd gives ``uid``, or ``/``."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        file = resolve.open_in_root(root, "/etc/passwd", os.O_RDONLY | os.O_NONBLOCK)
        with open(file, "rb") as stream:
            text = stream.read(_PASSWD_LIMIT).decode("utf-8", "replace")
    except OSError:
        return "/"
    finally:
        os.close(root)
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) >= 6 and fields[2] == str(uid):
            return fields[5] or "/"
    return "/"


def _change_user(kernel: Kernel, user: dict[str, Any], uid: int, gid: int) -> None:
    kernel.prctl(PR_SET_KEEPCAPS, 1)
    _own_stdio(uid)
    with _setgroups_may_be_denied(user):
        os.setgroups([int(group) for group in user.get("additionalGids") or ()])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    kernel.prctl(PR_SET_KEEPCAPS, 0)
    umask = user.get("umask")
    os.umask(0o022 if umask is None else umask)


@contextlib.contextmanager
def _setgroups_may_be_denied(user: dict[str, Any]) -> Any:
    """A user namespace made without privilege refuses setgroups(2) (user_namespaces(7))."""
    try:
        yield
    except PermissionError:
        if user.get("additionalGids"):
            raise


def _own_stdio(uid: int) -> None:
    """Let the user reopen its own /dev/stdout: it must own what is behind it."""
    null = os.stat("/dev/null").st_rdev if os.path.exists("/dev/null") else 0
    for fd in (0, 1, 2):
        found = os.fstat(fd)
        if found.st_uid == uid or (null and found.st_rdev == null):
            continue
        with contextlib.suppress(PermissionError):
            try:
                os.fchown(fd, uid, found.st_gid)
            except OSError as problem:
                if problem.errno not in (errno.EINVAL, errno.EROFS):
                    raise


def _no_directory(cwd: str, problem: OSError) -> Error:
    reason = executable.words(problem.errno)
    return Error(f"chdir to cwd ({cwd!r}) set in config.json failed: {reason}")


def _change_directory(cwd: str) -> OSError | None:
    """Go to the working directory and make sure that it is inside (CVE-2024-21626).

    Gives the error back when permission is denied: another user may have it.
    """
    try:
        os.chdir(cwd)
    except PermissionError as problem:
        return problem
    except OSError as problem:
        raise _no_directory(cwd, problem) from None
    try:
        inside = os.getcwd().startswith("/")
    except OSError:
        inside = False
    if not inside:
        raise Error("current working directory is outside of container mount namespace root")
    return None
