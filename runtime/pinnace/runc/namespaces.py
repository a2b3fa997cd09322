"""Which namespaces a container makes and which it joins, and getting into them.

Namespaces are made with unshare(2) and joined with setns(2) only: emulators refuse clone(2) with
namespace flags. A pid or time namespace takes effect in the next child.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from typing import Any

from pinnace.errors import InvalidArgument, PermissionDenied
from pinnace.linux import procfs
from pinnace.linux.kernel import (
    CLONE_FS,
    CLONE_NEWCGROUP,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    NAMESPACES,
    Kernel,
)

_NS_GET_USERNS = 0xB701


class Plan:
    """Namespaces of a configuration; descriptors of those to join are held open."""

    __slots__ = ("joined", "made", "offsets")

    def __init__(self, spec: dict[str, Any]) -> None:
        """Raises InvalidArgument for a type named twice or a path that is no namespace."""
        linux = spec.get("linux") or {}
        self.joined: dict[str, int] = {}
        self.made: set[str] = set()
        self.offsets: dict[str, Any] = linux.get("timeOffsets") or {}
        for item in linux.get("namespaces") or ():
            kind = item["type"]
            if kind in self.joined or kind in self.made:
                raise InvalidArgument(f"linux.namespaces: {kind} is named twice")
            if item.get("path"):
                self.joined[kind] = _open(kind, item["path"])
            else:
                self.made.add(kind)
        if "mount" not in self.own():
            self.close()
            raise InvalidArgument("linux.namespaces: a container needs a mount namespace")

    def own(self) -> set[str]:
        """Types the container does not share with the host."""
        return self.made | set(self.joined)

    def takes_one_fork(self) -> bool:
        """Whether a child that is forked into the pid namespace can enter all others by itself.

        Not a user namespace, which owns those made within it; not a time namespace, which like the pid
        namespace is entered by a fork. And a pid namespace with others in it is entered undumpable.
        """
        return "pid" not in self.joined and not {"user", "time"} & self.own()

    @contextlib.contextmanager
    def around_fork(self, kernel: Kernel) -> Iterator[None]:
        """Children forked inside are born in the container's pid namespace, if it makes one."""
        if "pid" not in self.made:
            yield
            return
        own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        try:
            kernel.unshare(CLONE_NEWPID)
            self.made.remove("pid")  # nothing is left to do for it
            yield
        finally:
            kernel.setns(own, CLONE_NEWPID)
            os.close(own)

    def join_foreign(self, kernel: Kernel) -> None:
        """Enter those given by path that do not belong to the container's user namespace.

        Once in a user namespace a process has no right to namespaces of another one any more.
        """
        if "user" in self.own():
            _enter(kernel, _foreign(self.joined))

    def join(self, kernel: Kernel) -> None:
        """Enter the others, the user namespace first: it gives the right to them."""
        foreign = _foreign(self.joined) if "user" in self.own() else {}
        _enter(kernel, {kind: fd for kind, fd in self.joined.items() if kind not in foreign})

    def make_user(self, kernel: Kernel) -> bool:
        """Make the user namespace, if the container has a new one."""
        if "user" in self.made:
            kernel.unshare(CLONE_NEWUSER)
            return True
        return False

    def make_others(self, kernel: Kernel) -> None:
        """Make all others in one call, but for the cgroup one, which shows where it was made."""
        flags = CLONE_FS
        for kind in self.made:
            flags |= NAMESPACES[kind][0]
        kernel.unshare(flags & ~(CLONE_NEWUSER | CLONE_NEWCGROUP))
        if flags & CLONE_NEWTIME and self.offsets:
            lines = [
                f"{clock} {offset.get('secs', 0)} {offset.get('nanosecs', 0)}\n"
                for clock, offset in self.offsets.items()
            ]
            try:
                procfs.write("self/timens_offsets", "".join(lines))
            except OSError as problem:
                what = f"linux.timeOffsets {self.offsets}"
                raise InvalidArgument(f"{what}: {problem.strerror}") from None

    def make_cgroup(self, kernel: Kernel) -> None:
        """Make the cgroup namespace, once the process is where its root shall be."""
        if "cgroup" in self.made:
            kernel.unshare(CLONE_NEWCGROUP)

    def close(self) -> None:
        """Let go of the descriptors."""
        for fd in self.joined.values():
            os.close(fd)
        self.joined = {}


def _open(kind: str, path: str) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as problem:
        raise InvalidArgument(f"{kind} namespace path {path}: {problem.strerror}") from None
    return fd


def of_process(pid: int) -> dict[str, int]:
    """Descriptors of the namespaces of ``pid`` that differ from the caller's, by OCI type."""
    found: dict[str, int] = {}
    for kind, (_, name) in NAMESPACES.items():
        try:
            theirs = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        if os.path.samestat(os.stat(f"/proc/self/ns/{name}"), os.fstat(theirs)):
            os.close(theirs)
        else:
            found[kind] = theirs
    return found


def enter(kernel: Kernel, held: dict[str, int]) -> None:
    """Enter all of ``held``, in the order of ``NAMESPACES``, the mount namespace last."""
    foreign = _foreign(held) if "user" in held else {}
    _enter(kernel, foreign)
    _enter(kernel, {kind: fd for kind, fd in held.items() if kind not in foreign})


def _enter(kernel: Kernel, held: dict[str, int]) -> None:
    if "mount" in held:
        kernel.unshare(CLONE_FS)  # setns(2) refuses while the file system state is shared
    for kind, (flag, _) in NAMESPACES.items():
        if kind in held:
            kernel.setns(held[kind], flag)


def _foreign(held: dict[str, int]) -> dict[str, int]:
    """Those of ``held`` that do not belong to the user namespace among them; all when there is none."""
    if "user" not in held:
        return held
    return {
        kind: fd for kind, fd in held.items() if kind != "user" and not _is_owned(fd, held["user"])
    }


def _is_owned(namespace: int, user: int) -> bool:
    """Whether ``namespace`` belongs to the user namespace ``user`` (ioctl_ns(2))."""
    try:
        owner = fcntl.ioctl(namespace, _NS_GET_USERNS)
    except OSError:
        return True  # its owner is none of ours: only from within there may be a right to it
    try:
        return os.path.samestat(os.fstat(owner), os.fstat(user))
    finally:
        os.close(owner)


def write_mappings(pid: int, linux: dict[str, Any]) -> None:
    """Map users and groups of the new user namespace that ``pid`` is in.

    Root maps what it likes; another user itself alone, and more with newuidmap(1) and newgidmap(1),
    as /etc/subuid and /etc/subgid allow. Raises InvalidArgument, PermissionDenied.
    """
    for key, name in (("uidMappings", "uid"), ("gidMappings", "gid")):
        mappings = linux.get(key) or ()
        if not mappings:
            raise InvalidArgument(f"a new user namespace needs linux.{key}")
        words = [[str(it[part]) for part in ("containerID", "hostID", "size")] for it in mappings]
        own = os.geteuid() if name == "uid" else os.getegid()
        if os.geteuid() == 0:
            procfs.write(f"{pid}/{name}_map", "".join(" ".join(line) + "\n" for line in words))
        elif len(words) == 1 and words[0][1:] == [str(own), "1"]:
            if name == "gid":
                # Who may drop groups could get past files that a group is kept from.
                procfs.write(f"{pid}/setgroups", "deny")
            procfs.write(f"{pid}/{name}_map", " ".join(words[0]) + "\n")
        else:
            _map_with_helper(f"new{name}map", pid, words)


def _map_with_helper(program: str, pid: int, words: list[list[str]]) -> None:
    import subprocess  # 10 ms that only a user with ranges of ids pays

    arguments = [program, str(pid), *(word for line in words for word in line)]
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=30)
    except (FileNotFoundError, PermissionError):  # the latter of a directory of the PATH
        raise PermissionDenied(
            f"mapping more than oneself takes {program}", hint="install the package uidmap"
        ) from None
    except subprocess.TimeoutExpired:
        raise PermissionDenied(f"{program} does not answer") from None
    if done.returncode:
        raise PermissionDenied(done.stderr.strip() or f"{program} failed")
