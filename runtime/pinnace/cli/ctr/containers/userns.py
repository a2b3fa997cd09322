"""Containers in a user namespace: the flags ``--uidmap`` and ``--gidmap``, and files with shifted owners."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from pinnace.api.schema.snapshots import CommitSnapshotRequest, Snapshots
from pinnace.cli import containers, unpack
from pinnace.errors import AlreadyExists, InvalidArgument
from pinnace.linux.mount import mount_all, unmount_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pinnace.cli.client import Client
    from pinnace.cli.options import Call
    from pinnace.spec import oci

_ID_LIMIT = (1 << 32) - 1


class Range(NamedTuple):
    """``size`` ids from ``inside`` on are ``outside`` ones (user_namespaces(7))."""

    inside: int
    outside: int
    size: int

    @classmethod
    def parse(cls, text: str, flag: str) -> Range:
        """``INSIDE:OUTSIDE:COUNT``; raises :class:`InvalidArgument`."""
        parts = text.split(":")
        if len(parts) == 3 and all(part.isdecimal() for part in parts):
            made = cls(*map(int, parts))
            if made.size and max(made.inside, made.outside) + made.size <= _ID_LIMIT:
                return made
        raise InvalidArgument(
            f"--{flag} {text}: INSIDE:OUTSIDE:COUNT is expected, as 0:100000:65536"
        )


class Shift(NamedTuple):
    """How the ids inside lie outside."""

    users: tuple[Range, ...]
    groups: tuple[Range, ...]

    def apply(self, spec: oci.Spec) -> None:
        """Give the specification a user namespace with these ids."""
        linux = spec["linux"]
        linux["namespaces"] = [*linux["namespaces"], {"type": "user"}]
        for key, ranges in (("uidMappings", self.users), ("gidMappings", self.groups)):
            linux[key] = [
                {"containerID": each.inside, "hostID": each.outside, "size": each.size}
                for each in ranges
            ]

    def labels(self) -> dict[str, str]:
        """What tells a snapshotter to shift owners by itself."""
        return {
            f"containerd.io/snapshot/{kind}mapping": ",".join(f"{r.inside}:{r.outside}:{r.size}" for r in ranges)
            for kind, ranges in (("uid", self.users), ("gid", self.groups))
        }  # fmt: skip

    def name(self) -> str:
        return "-".join(f"{r.inside}.{r.outside}.{r.size}" for r in (*self.users, *self.groups))


def wanted(call: Call) -> Shift | None:
    """The mapping that the flags of ``run`` ask for; raises :class:`InvalidArgument` for half of one."""
    if not call.has("uidmap"):
        return None
    users = tuple(Range.parse(each, "uidmap") for each in call.texts("uidmap"))
    groups = tuple(Range.parse(each, "gidmap") for each in call.texts("gidmap"))
    if not users and not groups:
        return None
    if not (users and groups):
        raise InvalidArgument("--uidmap and --gidmap belong together: give both")
    return Shift(users, groups)


def shifted(client: Client, snapshotter: str, parent: str, shift: Shift) -> str:
    """A committed snapshot as ``parent``, its files owned by the ids outside; made once and kept.

    Raises:
        InvalidArgument: a file belongs to an id that the mapping does not have.
    """
    name = f"{parent}-{shift.name()}"
    if unpack.exists(client, snapshotter, name):
        return name
    key = f"{name}-shift-{os.urandom(6).hex()}"
    mounts = containers.prepare_snapshot(client, snapshotter, key, parent, {})
    try:
        import tempfile

        with tempfile.TemporaryDirectory(prefix="ctr-shift-") as directory:
            mount_all(mounts, directory)
            try:
                _change_owners(directory, shift)
            finally:
                unmount_all(directory)
        request = CommitSnapshotRequest(snapshotter=snapshotter, name=name, key=key)
        client.call(Snapshots.commit, request)
    except AlreadyExists:
        containers.discard(client, snapshotter, key)  # somebody else was faster
    except BaseException:
        containers.discard(client, snapshotter, key)
        raise
    return name


def _change_owners(top: str, shift: Shift) -> None:
    """Symbolic links are never followed: the files are an image's, which may be hostile."""
    for path, facts in _files(top):
        owner = _outside(shift.users, facts.st_uid, path[len(top) :])
        group = _outside(shift.groups, facts.st_gid, path[len(top) :])
        os.chown(path, owner, group, follow_symlinks=False)
        if stat.S_ISREG(facts.st_mode) and facts.st_mode & (stat.S_ISUID | stat.S_ISGID):
            os.chmod(path, stat.S_IMODE(facts.st_mode))  # chown(2) clears both bits


def _files(top: str) -> Iterator[tuple[str, os.stat_result]]:
    yield top, os.lstat(top)
    for directory, below, names in os.walk(top):
        for name in (*below, *names):
            path = os.path.join(directory, name)
            yield path, os.lstat(path)


def _outside(ranges: tuple[Range, ...], number: int, path: str) -> int:
    for each in ranges:
        if each.inside <= number < each.inside + each.size:
            return each.outside + number - each.inside
    raise InvalidArgument(
        f"{path or '/'} belongs to the id {number}, which the mapping does not have"
    )
