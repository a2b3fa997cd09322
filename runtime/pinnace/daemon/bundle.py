"""A task's bundle directory: made, read and removed."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from pinnace.errors import InvalidArgument
from pinnace.store import disk

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_SPEC = 8 << 20
"""Bytes of a runtime specification; seccomp profiles are the largest parts, far below this."""


def parse_json(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object of a client; raises InvalidArgument."""
    if len(data) > MAX_SPEC:
        raise InvalidArgument(f"{what} of {len(data)} bytes is too large")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as problem:
        raise InvalidArgument(f"{what} is not valid JSON: {problem}") from None
    if not isinstance(found, dict):
        raise InvalidArgument(f"{what} must be a JSON object")
    return found


def make(path: str, spec: bytes) -> None:
    """Create the directory with ``config.json`` and an empty ``rootfs``.

    What a crash left there under the same name is removed first. Raises InvalidArgument for a
    spec that is none.

    Only root may pass: a program with the set-user-id bit in a container's root would otherwise
    run for every user of the host (CVE-2021-41103). With a user namespace, whose root is another
    user here, that user's group may.
    """
    group = _mapped_group(parse_json(spec, "runtime spec"))
    with disk.errors(f"create bundle {path}"):
        remove(path)
        os.makedirs(os.path.dirname(path), mode=0o711, exist_ok=True)
        os.mkdir(path, 0o710 if group else 0o700)
        if group:
            os.chown(path, -1, group)
        os.mkdir(os.path.join(path, "rootfs"), 0o711)
    write(path, "config.json", spec)


def _mapped_group(spec: Mapping[str, Any]) -> int:
    """The host's number of the container's group 0, which is 0 without a user namespace."""
    linux = spec.get("linux")
    mappings = linux.get("gidMappings") if isinstance(linux, dict) else None
    for item in mappings if isinstance(mappings, list) else ():
        if isinstance(item, dict) and item.get("containerID") == 0:
            host = item.get("hostID")
            if not isinstance(host, int) or not 0 <= host < 1 << 32:
                raise InvalidArgument(f"linux.gidMappings: {host!r} is not a group")
            return host
    return 0


def write(path: str, name: str, data: bytes) -> None:
    """Write a file of the bundle so that it is there whole or not at all."""
    target = os.path.join(path, name)
    with disk.errors(f"write {target}"):
        with open(f"{target}.new", "wb", opener=_private) as file:
            file.write(data)
        os.rename(f"{target}.new", target)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def read(path: str, name: str) -> bytes:
    """A file of the bundle; raises OSError."""
    with open(os.path.join(path, name), "rb") as file:
        return file.read(MAX_SPEC)


def read_if_there(path: str, name: str) -> str:
    """The text of a file of the bundle, empty without one."""
    try:
        return read(path, name).decode("utf-8", "replace")
    except OSError:
        return ""


def read_exit(directory: str) -> Mapping[str, Any] | None:
    """What a shim wrote of its container's end; ``None`` when there is nothing usable."""
    try:
        found = json.loads(read(directory, "exit.json"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "status" in found else None


def directories(path: str) -> list[str]:
    """Names of the directories in ``path``; none when there is no such directory."""
    try:
        with os.scandir(path) as entries:
            return sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def remove(path: str) -> None:
    """Remove a bundle, unmounting what a dead shim left mounted in it; it may be absent.

    Nothing below ``rootfs`` is ever deleted: if something is still mounted there, it would be the
    files of a snapshot. Raises FailedPrecondition then.
    """
    from pinnace.linux import mount

    if not os.path.lexists(path):
        return
    rootfs = os.path.join(path, "rootfs")
    with disk.errors(f"remove bundle {path}"):
        if os.path.isdir(rootfs):
            mount.unmount_all(rootfs)
            os.rmdir(rootfs)
        for name in os.listdir(path):
            entry = os.path.join(path, name)
            # What a shim of another kind made; nothing that is mounted is walked into.
            if os.path.isdir(entry) and not os.path.islink(entry) and not os.path.ismount(entry):
                disk.remove_tree(entry)
            else:
                os.unlink(entry)
        os.rmdir(path)


def remove_state(path: str) -> None:
    """Remove a shim's directory, which may be absent."""
    if os.path.lexists(path):
        with disk.errors(f"remove {path}"):
            disk.remove_tree(path)
