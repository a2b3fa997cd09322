"""What is mounted: file systems, volumes, options, propagation, the root itself."""

from __future__ import annotations

from tests.conformance.runc.differential.table import Row, mount

_VOLUME = ("read:/mnt/file", "write:/mnt", "list:/mnt")


def _volume(name: str, *options: str, **more: object) -> Row:
    return Row(f"bind-{name}", {}, [mount("/mnt", "bind", "volume", *options, **more)], ask=_VOLUME)


def _tmpfs(name: str, *options: str, target: str = "/mnt") -> Row:
    ask = (f"stat:{target}", f"list:{target}", f"write:{target}")
    return Row(f"tmpfs-{name}", {}, [mount(target, "tmpfs", "tmpfs", *options)], ask=ask)


ROWS = [
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
    _volume("recursively-read-only", "rbind", "rro"),
    _volume("recursive-flags", "rbind", "rnosuid", "rnodev", "rnoexec"),
    _volume("recursive-noatime", "rbind", "rnoatime"),
    _volume("unknown-option", "bind", "nosuchoption"),
]
