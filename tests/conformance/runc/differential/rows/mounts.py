"""What is mounted: file systems, volumes, options, propagation, the root itself, hidden paths."""

from __future__ import annotations

import os
from typing import Any

from tests.conformance.runc.differential.bundle import Bundle
from tests.conformance.runc.differential.table import Row, mount

_VOLUME = ("read:/mnt/file", "write:/mnt", "list:/mnt")


def _volume(name: str, *options: str) -> Row:
    return Row(f"bind-{name}", {}, [mount("/mnt", "bind", "volume", *options)], ask=_VOLUME)


def _tmpfs(name: str, *options: str, target: str = "/mnt") -> Row:
    ask = (f"stat:{target}", f"list:{target}", f"write:{target}", f"read:{target}/below")
    return Row(f"tmpfs-{name}", {}, [mount(target, "tmpfs", "tmpfs", *options)], ask=ask)


def _mount(name: str, *mounts: dict[str, Any], ask: tuple[str, ...] = ()) -> Row:
    return Row(f"mount-{name}", {}, mounts, ask=ask)


def _link(name: str, target: str) -> Any:
    def change(bundle: Bundle) -> None:
        (bundle.root / name).symlink_to(target)

    return change


def _without_mounts(*targets: str) -> Any:
    def change(bundle: Bundle) -> None:
        bundle.spec["mounts"] = [
            item for item in bundle.spec["mounts"] if item["destination"] not in targets
        ]

    return change


def _existing_null(bundle: Bundle) -> None:
    _without_mounts("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")(bundle)
    os.mknod(bundle.root / "dev/null", 0o20644, os.makedev(1, 3))


def _options_of(target: str, *options: str) -> Any:
    def change(bundle: Bundle) -> None:
        for item in bundle.spec["mounts"]:
            if item["destination"] == target:
                item["options"] = list(options)

    return change


_BIND = [
    _volume("plain", "bind"),
    _volume("recursive", "rbind"),
    _volume("read-only", "rbind", "ro"),
    _volume("read-only-taken-back", "rbind", "ro", "rw"),
    _volume("all-flags", "rbind", "ro", "nosuid", "nodev", "noexec"),
    _volume("noatime", "bind", "noatime"),
    _volume("nodiratime", "bind", "nodiratime"),
    _volume("strictatime", "bind", "strictatime"),
    _volume("relatime", "bind", "relatime"),
    _volume("nosymfollow", "bind", "nosymfollow"),
    _volume("private", "rbind", "rprivate"),
    _volume("shared", "rbind", "rshared"),
    _volume("slave", "rbind", "rslave"),
    _volume("unbindable", "rbind", "unbindable"),
    _volume("two-propagations", "rbind", "rslave", "rshared"),
    _volume("recursively-read-only", "rbind", "rro"),
    _volume("recursive-flags", "rbind", "rnosuid", "rnodev", "rnoexec"),
    _volume("recursive-noatime", "rbind", "rnoatime"),
    _volume("recursive-taken-back", "rbind", "rro", "rrw"),
    _volume("recursive-symfollow", "rbind", "rnosymfollow"),
    _volume("unknown-option", "bind", "nosuchoption"),
    Row("bind-without-the-word", {}, [mount("/mnt", "bind", "volume")], ask=_VOLUME),
    Row("bind-type-none", {}, [mount("/mnt", "none", "volume", "bind")], ask=_VOLUME),
    Row("bind-file", {}, [mount("/etc/file", "bind", "volume/file", "bind", "ro")], ask=("read:/etc/file",)),
    Row("bind-file-on-file", {}, [mount("/etc/passwd", "bind", "volume/file", "bind")], ask=("read:/etc/passwd",)),
    Row("bind-file-on-directory", {}, [mount("/data", "bind", "volume/file", "bind")]),
    Row("bind-directory-on-file", {}, [mount("/etc/passwd", "bind", "volume", "bind")]),
    Row("bind-missing-source", {}, [mount("/mnt", "bind", "nosuch", "bind")]),
    Row("bind-empty-source", {}, [mount("/mnt", "bind", "", "bind")]),
    Row("bind-of-a-tmpfs-file-system", {}, [mount("/mnt", "bind", "/run", "bind")], ask=("stat:/mnt",)),
    Row("bind-device", {}, [mount("/dev/zero2", "bind", "/dev/zero", "bind")], ask=("stat:/dev/zero2",)),
    Row("bind-root-of-host-proc", {}, [mount("/mnt", "bind", "/proc/sys/kernel", "bind", "ro")], ask=("read:/mnt/ostype",)),
    Row("bind-over-proc-part", {}, [mount("/proc/sys", "bind", "volume", "bind")]),
    Row("bind-over-proc-file", {}, [mount("/proc/uptime", "bind", "volume/file", "bind")], ask=("read:/proc/uptime",)),
    Row("bind-over-proc", {}, [mount("/proc", "bind", "volume", "bind")]),
    Row("bind-over-sys-part", {}, [mount("/sys/fs", "bind", "volume", "bind")], ask=("list:/sys/fs",)),
]  # fmt: skip

_TMPFS = [
    _tmpfs("plain"),
    _tmpfs("size", "size=128k"),
    _tmpfs("mode", "mode=1777"),
    _tmpfs("owner", "uid=1000", "gid=1001", "mode=700"),
    _tmpfs("read-only", "ro"),
    _tmpfs("flags", "nosuid", "nodev", "noexec"),
    _tmpfs("strictatime", "strictatime"),
    _tmpfs("noatime", "noatime"),
    _tmpfs("shared", "shared"),
    _tmpfs("mode-of-what-is-below", target="/data"),
    _tmpfs("copy-up", "tmpcopyup", target="/data"),
    _tmpfs("copy-up-read-only", "tmpcopyup", "ro", target="/data"),
    _tmpfs("unknown-option", "nosuchoption"),
    _tmpfs("inodes", "nr_inodes=10"),
    Row("tmpfs-on-a-file", {}, [mount("/etc/passwd", "tmpfs", "tmpfs")]),
    Row("tmpfs-recursive-attributes", {}, [mount("/mnt", "tmpfs", "tmpfs", "rro")], ask=("write:/mnt",)),
]  # fmt: skip

_TARGETS = [
    _mount("nested-target", mount("/a/b/c", "tmpfs", "tmpfs"), ask=("stat:/a", "stat:/a/b")),
    _mount("relative-target", mount("mnt", "tmpfs", "tmpfs"), ask=("stat:/mnt",)),
    _mount("climbing-target", mount("/../../mnt", "tmpfs", "tmpfs"), ask=("stat:/mnt",)),
    _mount("on-the-root", mount("/", "tmpfs", "tmpfs")),
    _mount("twice", mount("/mnt", "tmpfs", "tmpfs"), mount("/mnt", "bind", "volume", "bind"), ask=_VOLUME),
    _mount("empty-target", mount("", "tmpfs", "tmpfs")),
    _mount("unknown-type", mount("/mnt", "nosuchfs", "nosuchfs")),
    _mount("no-type", {"destination": "/mnt", "source": "volume"}),
    _mount("proc-elsewhere", mount("/mnt", "proc", "proc"), ask=("stat:/mnt/self",)),
    _mount("proc-hidepid", mount("/mnt", "proc", "proc", "hidepid=2")),
    _mount("sysfs-elsewhere", mount("/mnt", "sysfs", "sysfs", "ro"), ask=("stat:/mnt/class",)),
    _mount("devpts-elsewhere", mount("/mnt", "devpts", "devpts", "newinstance", "mode=0600"), ask=("list:/mnt",)),
    _mount("mqueue-elsewhere", mount("/mnt", "mqueue", "mqueue"), ask=("stat:/mnt",)),
    _mount("inside-volume", mount("/mnt", "bind", "volume", "bind"), mount("/mnt/inner", "tmpfs", "tmpfs", "ro"), ask=_VOLUME),
    _mount("recursively-read-only-with-inner", mount("/out", "tmpfs", "tmpfs"), mount("/out/in", "tmpfs", "tmpfs"), mount("/mnt", "bind", "volume", "rbind", "rro"), ask=("write:/mnt",)),
    Row("mount-target-is-a-link", {}, [mount("/link", "tmpfs", "tmpfs")], change=_link("link", "data"), ask=("stat:/link", "stat:/data")),
    Row("mount-target-is-a-link-out", {}, [mount("/link", "tmpfs", "tmpfs")], change=_link("link", "/../../../tmp/out"), ask=("stat:/tmp/out",)),
    Row("mount-target-is-a-dangling-link", {}, [mount("/link", "tmpfs", "tmpfs")], change=_link("link", "made"), ask=("stat:/made",)),
    Row("mount-file-target-is-a-dangling-link", {}, [mount("/link", "bind", "volume/file", "bind")], change=_link("link", "made")),
    Row("mount-cgroup", {}, [mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", "ro")], ask=("list:/sys/fs/cgroup", "write:/sys/fs/cgroup/pids")),
    Row("mount-cgroup-writable", {}, [mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", "rw")], ask=("list:/sys/fs/cgroup", "read:/sys/fs/cgroup/pids/cgroup.procs")),
]  # fmt: skip

_ROOT = [
    Row("root-read-only", {"root.readonly": True}, ask=("write:/", "write:/data", "write:/dev/shm")),
    Row("root-missing", {"root.path": "nosuch"}),
    Row("root-a-file", {"root.path": "config.json"}),
    Row("root-none", {"root": None}),
    Row("root-private", {"linux.rootfsPropagation": "private"}),
    Row("root-shared", {"linux.rootfsPropagation": "shared"}),
    Row("root-slave", {"linux.rootfsPropagation": "slave"}),
    Row("root-unbindable", {"linux.rootfsPropagation": "unbindable"}),
    Row("root-recursively-private", {"linux.rootfsPropagation": "rprivate"}),
    Row("root-unknown-propagation", {"linux.rootfsPropagation": "nosuch"}),
    Row("masked-none", {"linux.maskedPaths": None}),
    Row("masked-missing", {"linux.maskedPaths": ["/nosuch", "/etc/nosuch/at/all"]}),
    Row("masked-file", {"linux.maskedPaths": ["/etc/passwd"]}, ask=("read:/etc/passwd", "write:/etc/passwd")),
    Row("masked-directory", {"linux.maskedPaths": ["/data"]}, ask=("list:/data", "write:/data")),
    Row("masked-in-read-only-root", {"linux.maskedPaths": ["/data"], "root.readonly": True}, ask=("list:/data",)),
    Row("masked-relative", {"linux.maskedPaths": ["data"]}, ask=("list:/data",)),
    Row("read-only-none", {"linux.readonlyPaths": None}, ask=("stat:/proc/sys",)),
    Row("read-only-missing", {"linux.readonlyPaths": ["/nosuch"]}),
    Row("read-only-directory", {"linux.readonlyPaths": ["/data"]}, ask=("write:/data",)),
    Row("read-only-file", {"linux.readonlyPaths": ["/etc/passwd"]}, ask=("write:/etc/passwd",)),
    Row("read-only-and-masked", {"linux.readonlyPaths": ["/data"], "linux.maskedPaths": ["/data"]}, ask=("list:/data",)),
    Row("mounts-none", {"mounts": []}),
    Row("mounts-no-dev", {}, change=_without_mounts("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"), ask=("list:/dev",)),
    Row("mounts-no-dev-with-null", {}, change=_existing_null, ask=("list:/dev",)),
    Row("mounts-no-proc", {"linux.maskedPaths": [], "linux.readonlyPaths": []}, change=_without_mounts("/proc")),
    Row("mounts-no-sys", {}, change=_without_mounts("/sys")),
    Row("mounts-no-devpts", {}, change=_without_mounts("/dev/pts")),
    Row("mounts-dev-read-only", {}, change=_options_of("/dev", "ro", "nosuid", "mode=755")),
    Row("mounts-sys-writable", {}, change=_options_of("/sys", "nosuid", "noexec", "nodev"), ask=("write:/sys/kernel/mm",)),
    Row("mounts-proc-read-only", {}, change=_options_of("/proc", "ro")),
]  # fmt: skip

ROWS = [*_BIND, *_TMPFS, *_TARGETS, *_ROOT]
