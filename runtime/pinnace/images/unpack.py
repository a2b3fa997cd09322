"""Apply a layer to a directory or to a snapshot's mounts, in one pass, checking as it goes."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

from pinnace.errors import InvalidArgument, Unimplemented
from pinnace.images import tar
from pinnace.images.compression import LayerReader, Readable
from pinnace.images.extract import Extractor, Target
from pinnace.store import disk
from pinnace.store.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pinnace.linux.mount import Mount
    from pinnace.spec.digest import Digest


class Limits(NamedTuple):
    """What a layer may cost: uncompressed bytes and members."""

    size: int = 1 << 38
    members: int = 4_000_000


class Applied(NamedTuple):
    """The digest and size in bytes of the uncompressed layer, and the disk it took (estimated)."""

    diff_id: Digest
    size: int
    usage: Usage


DEFAULT_LIMITS = Limits()


def apply(
    stream: Readable,
    target: str | Target | Sequence[Mount],
    *,
    limits: Limits = DEFAULT_LIMITS,
    ahead: bool | None = None,
) -> Applied:
    """Unpack the layer in *stream* (gzip, zstd or plain) into *target*.

    Nothing outside the target can be touched, whatever the layer holds. Raises DataLoss for a
    damaged layer, InvalidArgument for a hostile one, ResourceExhausted when the disk is full. What
    was written until then stays: the caller throws the target away.
    """
    place = _target(target)
    with disk.errors(f"unpack into {place.root}"):
        extractor = Extractor(place)
    reader = LayerReader(stream, limits.size, ahead=ahead)
    try:
        for member in tar.members(reader, limits.members):
            try:
                extractor.add(member, reader)
            except OSError as error:
                raise _refusal(error, member) from error
            except OverflowError as error:
                raise InvalidArgument(f"unpack {member.shown!r}: {error}") from error
        summary = reader.finish()
        with disk.errors(f"unpack into {place.root}"):
            extractor.finish()
    finally:
        reader.close()
        extractor.close()
    usage = Usage(extractor.inodes, extractor.blocks * 4096)
    return Applied(summary.diff_id, summary.size, usage)


def _refusal(error: OSError, member: tar.Member) -> Exception:
    what = f"unpack {member.shown!r}"
    if error.errno in (errno.ENAMETOOLONG, errno.EINVAL, errno.EFBIG, errno.EOVERFLOW):
        return InvalidArgument(f"{what}: {error.strerror}")
    return disk.translate(error, what)


def _target(target: str | Target | Sequence[Mount]) -> Target:
    if isinstance(target, str):
        return Target(target)
    if isinstance(target, Target):
        return target
    return target_of(target)


def target_of(mounts: Sequence[Mount]) -> Target:
    """The directory behind a snapshot's mounts, so that nothing needs to be mounted.

    Raises InvalidArgument for a read-only snapshot, Unimplemented for foreign kinds of mounts.
    """
    if len(mounts) != 1 or mounts[0].type not in ("bind", "overlay"):
        kinds = ", ".join(mount.type for mount in mounts) or "none"
        raise Unimplemented(f"cannot unpack into mounts of type {kinds}")
    mount = mounts[0]
    if "ro" in mount.options:
        raise InvalidArgument("cannot unpack into a read-only snapshot")
    if mount.type == "bind":
        return Target(mount.source)
    options = dict(option.partition("=")[::2] for option in mount.options)
    if "upperdir" not in options:
        raise InvalidArgument("cannot unpack into a read-only snapshot")
    marks = "user.overlay." if "userxattr" in options else "trusted.overlay."
    lower = [path for path in options.get("lowerdir", "").split(":") if path]
    return Target(options["upperdir"], lower, marks)
