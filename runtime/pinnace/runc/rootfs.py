"""Making a container's root: mounts, devices, masked and read-only paths, then the pivot.

Runs in the container's own mount namespace, before any of its code, with the host's /proc. Steps
and options are those of the OCI runtime specification (config.md "Mounts", config-linux.md).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable
from typing import Any

from pinnace.errors import Error, InvalidArgument
from pinnace.linux import mount as mnt
from pinnace.linux import mountinfo, procfs, resolve
from pinnace.linux.cgroups import Cgroup
from pinnace.linux.kernel import Kernel
from pinnace.linux.mount import MountOptions, parse_options
from pinnace.runc import copyup, devices, mapped, propagation
from pinnace.runc.cgroupfs import mount_cgroups
from pinnace.runc.labels import mount_data
from pinnace.runc.paths import Root, descriptor
from pinnace.spec.runtime import PROC_FILES

_BIND = mnt.MS_BIND | mnt.MS_REC


def prepare(kernel: Kernel, spec: dict[str, Any], bundle: str) -> Root:
    """Cut the mount namespace off from the host's and make the root a mount point."""
    kernel.mount("", "/", "", propagation.of_host(spec) | mnt.MS_REC)
    path = os.path.realpath(os.path.join(bundle, spec["root"]["path"]))
    if not os.path.isdir(path):
        raise Error(f"root file system {path} is not a directory")
    _make_parent_private(kernel, path)
    kernel.mount(path, path, "", _BIND)
    return Root(kernel, path)


def _make_parent_private(kernel: Kernel, path: str) -> None:
    """pivot_root(2) refuses when the new root, or the mount that holds it, is shared.

    The root may be a mount of its own already, as a snapshot is: what is bound from it is shared as it is.
    """
    place = path
    while True:
        try:
            kernel.mount("", place, "", mnt.MS_PRIVATE)
            return
        except OSError as problem:
            if problem.errno != errno.EINVAL or place == "/":
                raise
        place = os.path.dirname(place)


def fill(
    kernel: Kernel, root: Root, spec: dict[str, Any], bundle: str, cgroup: Cgroup | None,
    before_cgroup: Callable[[], None], trees: dict[int, int],
) -> None:  # fmt: skip
    """Make every mount of ``spec``, then the devices if /dev is the container's own.

    ``before_cgroup`` is called before a cgroup mount, which shows where the process is. ``trees``
    are mounts made already, by their index.
    """
    own_dev = True
    for index, item in enumerate(spec.get("mounts") or ()):
        if item.get("type") in ("cgroup", "cgroup2"):
            before_cgroup()
        try:
            _mount_one(kernel, root, spec, item, bundle, cgroup, trees.get(index))
        except OSError as problem:
            raise Error(_mount_failure(item, problem)) from problem
        if item["destination"].rstrip("/") == "/dev" and item.get("type") == "bind":
            own_dev = False
    if own_dev:
        devices.make_all(kernel, root, spec)
    _finish_dev(kernel, root, spec)


def _finish_dev(kernel: Kernel, root: Root, spec: dict[str, Any]) -> None:
    """/dev becomes read-only, if it shall be, when there is nothing more to make in it."""
    for item in spec.get("mounts") or ():
        if item["destination"].rstrip("/") == "/dev" and item.get("type") == "tmpfs":
            parsed = parse_options(item.get("options") or [])
            if parsed.flags & mnt.MS_RDONLY:
                with root.existing("/dev") as place:
                    remount_bind(kernel, place, parsed.flags)


def _mount_failure(item: dict[str, Any], problem: OSError) -> str:
    what = f"{item.get('source') or item.get('type')} to rootfs at {item['destination']}"
    return f"error mounting {what}: {problem.strerror}"


def _mount_one(
    kernel: Kernel, root: Root, spec: dict[str, Any], item: dict[str, Any], bundle: str,
    cgroup: Cgroup | None, tree: int | None,
) -> None:  # fmt: skip
    parsed = parse_options(mapped.plain_options(item))
    target = os.path.normpath("/" + item["destination"].lstrip("/"))
    kind = item.get("type") or ""
    if parsed.flags & mnt.MS_BIND or kind == "bind":
        _check_below_proc(root, target)
        if target == "/proc":
            _check_is_proc(item.get("source") or "")
        _bind(kernel, root, item.get("source") or "", target, parsed, bundle, tree)
        return
    _check_below_proc(root, target)
    if kind in ("cgroup", "cgroup2"):
        mount_cgroups(kernel, root, target, parsed, spec, cgroup)
        return
    _mount_filesystem(kernel, root, item, target, parsed, spec.get("linux") or {})


def _mount_filesystem(
    kernel: Kernel, root: Root, item: dict[str, Any], target: str, parsed: MountOptions,
    linux: dict[str, Any],
) -> None:  # fmt: skip
    kind = item.get("type") or ""
    data = mount_data(kind, parsed.data, linux)
    if kind == "tmpfs" and "mode=" not in data:
        data = ",".join(part for part in (data, _mode_of(root, target)) if part)
    with root.directory(target) as place:
        _check_below_proc(root, target, place)
        if kind in ("proc", "sysfs"):
            _check_ordinary(root, target, place, kind)
        copied = copyup.collect(descriptor(place)) if parsed.copy_up and kind == "tmpfs" else None
        # A tmpfs that starts read-only could not be filled.
        to_fill = copied or target == "/dev"
        flags = parsed.flags & ~mnt.MS_RDONLY if to_fill else parsed.flags
        kernel.mount(item.get("source") or kind, place, kind, flags, data)
    if copied:
        with root.existing(target) as place:
            copyup.restore(descriptor(place), copied)
            if parsed.flags & mnt.MS_RDONLY:
                kernel.mount("", place, "", parsed.flags | mnt.MS_BIND | mnt.MS_REMOUNT)
    if parsed.propagation or any(parsed.recursive):
        with root.existing(target) as place:
            _set_propagation(kernel, place, parsed)


def _mode_of(root: Root, target: str) -> str:
    """The tmpfs option that keeps the mode of what is covered; none when nothing is there yet."""
    try:
        with root.existing(target) as place:
            return f"mode={stat.S_IMODE(os.stat(descriptor(place)).st_mode):o}"
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _bind(
    kernel: Kernel, root: Root, source: str, target: str, parsed: MountOptions, bundle: str,
    tree: int | None,
) -> None:  # fmt: skip
    if not source:
        raise InvalidArgument(f"mount {target}: a bind mount needs a source")
    if parsed.data:
        raise InvalidArgument(f"mount {target}: a bind mount has no option {parsed.data!r}")
    # A missing source is named as such, and no target is made for it.
    origin = os.open(os.path.join(bundle, source), os.O_PATH | os.O_CLOEXEC)
    try:
        is_directory = stat.S_ISDIR(os.fstat(origin).st_mode)
        with root.directory(target) if is_directory else root.file(target, follow=True) as place:
            _check_below_proc(root, target, place)
            if tree is not None:
                mapped.attach(tree, descriptor(place))
            else:
                kernel.mount(
                    f"/proc/self/fd/{origin}", place, "", parsed.flags & _BIND | mnt.MS_BIND
                )
            with root.mounted(target, place, origin) as covered:
                if parsed.flags & ~_BIND or parsed.clear:
                    remount_bind(kernel, covered, parsed.flags & ~_BIND)
                _set_propagation(kernel, covered, parsed)
    finally:
        os.close(origin)


def remount_bind(kernel: Kernel, place: str, flags: int) -> None:
    """Change a bind mount's flags, keeping those that the kernel locked (user namespaces)."""
    flags |= mnt.MS_BIND | mnt.MS_REMOUNT
    try:
        kernel.mount("", place, "", flags)
    except PermissionError:
        locked = os.statvfs(place).f_flag & 0xF  # ro nosuid nodev noexec: the same bits
        kernel.mount("", place, "", flags | locked)


def _set_propagation(kernel: Kernel, place: str, parsed: MountOptions) -> None:
    for flag in parsed.propagation:
        kernel.mount("", place, "", flag)
    if any(parsed.recursive):
        kernel.mount_setattr(place, *parsed.recursive)


def _check_ordinary(root: Root, target: str, place: str, kind: str) -> None:
    """/proc and /sys go on plain directories: a symlink there would fake them (CVE-2019-19921)."""
    if os.readlink(place) != os.path.normpath(root.path + target):
        raise Error(f"filesystem {kind!r} must be mounted on ordinary directory {target}")


def _check_below_proc(root: Root, target: str, place: str | None = None) -> None:
    """Nothing may cover parts of /proc: security modules are configured through it.

    Checked by name, before anything is made there, and again where ``place`` really is: an image's
    symlink may lead into the container's /proc (CVE-2019-16884, CVE-2025-52881).
    """
    if place is not None:
        real = os.readlink(place)
        target = real.removeprefix(root.path) if real.startswith(root.path + "/") else target
    if not target.startswith("/proc/") or target in PROC_FILES:
        return
    raise InvalidArgument(f'"{target}" cannot be mounted because it is inside /proc')


def _check_is_proc(source: str) -> None:
    """What is shown as /proc must be one: a fake one would take what is written there."""
    if not procfs.is_proc(source):
        raise InvalidArgument(f"{source} cannot be mounted on /proc: it is not of type proc")


def protect(
    kernel: Kernel, root: Root, spec: dict[str, Any], *, nodev: bool = False
) -> None:  # fmt: skip
    """Mask paths, make others read-only, then the root itself if asked for.

    With ``nodev`` device files that the image brought do nothing.
    """
    linux = spec.get("linux") or {}
    for path in linux.get("readonlyPaths") or ():
        with _if_there(), root.existing(path) as place:
            kernel.mount(place, place, "", _BIND)
            with root.mounted(path, place, descriptor(place)) as covered:
                remount_bind(kernel, covered, mnt.MS_RDONLY | os.statvfs(covered).f_flag & 0xE)
    _mask_all(kernel, root, linux.get("maskedPaths") or ())
    flags = mnt.MS_RDONLY if spec["root"].get("readonly") else 0
    flags |= mnt.MS_NODEV if nodev else 0
    if flags:
        root.reopen()
        place = f"/proc/self/fd/{root.fd}"
        remount_bind(kernel, place, flags | os.statvfs(place).f_flag & 0xF)


@contextlib.contextmanager
def _if_there() -> Any:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        yield


def _mask_all(kernel: Kernel, root: Root, paths: Iterable[str]) -> None:
    """Hide files behind the null device and directories behind a file system that holds nothing."""
    null, own = -1, False
    try:
        for path in paths:
            with _if_there(), root.existing(path) as place:
                if stat.S_ISDIR(os.stat(descriptor(place)).st_mode):
                    kernel.mount("tmpfs", place, "tmpfs", mnt.MS_RDONLY, "nr_inodes=1,size=4k")
                    continue
                if null < 0:
                    null, own = _null_device(kernel, root)
                kernel.mount(f"/proc/self/fd/{null}", place, "", mnt.MS_BIND)
                if not own:
                    with root.mounted(path, place, null) as covered:
                        remount_bind(kernel, covered, mnt.MS_RDONLY)
    finally:
        if null >= 0:
            os.close(null)


def _null_device(kernel: Kernel, root: Root) -> tuple[int, bool]:
    """A null device, proven to be one, as the image's could be anything (CVE-2025-31133).

    The second value is whether it is the container's own. The host's must only be shown read-only:
    root inside could change its mode, through the mask, for everybody.
    """
    with contextlib.suppress(OSError):
        null = resolve.open_in_root(root.fd, "/dev/null", os.O_PATH | os.O_NOFOLLOW, kernel=kernel)
        if devices.is_null(null):
            return null, True
        os.close(null)
    null = os.open("/dev/null", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not devices.is_null(null):
        os.close(null)
        raise Error("/dev/null is not the null device")
    return null, False


def pivot(kernel: Kernel, root: Root) -> None:
    """Make ``root`` the root of this mount namespace and let go of the old one.

    pivot_root(".", ".") stacks the old root on the new one (pivot_root(2), NOTES); it is made a
    slave first, so that taking it off is not seen by the host.
    """
    old = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    new = os.open(root.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fchdir(new)
        kernel.pivot_root(".", ".")
        os.fchdir(old)
        kernel.mount("", ".", "", mnt.MS_SLAVE | mnt.MS_REC)
        kernel.unmount(".", mnt.MNT_DETACH)
        os.chdir("/")
    finally:
        os.close(old)
        os.close(new)


def propagate(kernel: Kernel, spec: dict[str, Any]) -> None:
    """Give the container's own root the propagation it shall have, after the pivot.

    Private and slave it is already; a shared or unbindable root would have refused pivot_root(2).
    """
    word = (spec.get("linux") or {}).get("rootfsPropagation") or ""
    if "shared" in word or "unbindable" in word:
        kernel.mount("", "/", "", mnt.PROPAGATION[word])


def move(kernel: Kernel, root: Root) -> None:
    """The same without pivot_root(2), which the initial ramdisk's root refuses: move it to ``/``.

    Other proc and sysfs mounts go first: they stay reachable below the moved root for who may mount.
    """
    for point in reversed(mountinfo.read()):
        if point.type in ("proc", "sysfs") and not point.target.startswith(root.path + "/"):
            kernel.mount("", point.target, "", mnt.MS_PRIVATE)
            kernel.unmount(point.target, mnt.MNT_DETACH)
    os.chdir(root.path)
    kernel.mount(root.path, "/", "", mnt.MS_MOVE)
    os.chroot(".")
    os.chdir("/")
