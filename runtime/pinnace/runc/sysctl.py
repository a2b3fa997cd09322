"""Kernel settings of a container: only those that belong to one of its own namespaces.

Written through the host's /proc before the pivot, and only to what is procfs (CVE-2025-52881); the kernel
takes the namespace from the writer.
"""

from __future__ import annotations

from collections.abc import Iterator

from pinnace.errors import InvalidArgument
from pinnace.linux import procfs

_IPC = {
    "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall",
    "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced",
}  # fmt: skip
_UTS = {"kernel.domainname", "kernel.hostname"}


def apply(settings: dict[str, str], own: set[str]) -> None:
    """Write ``settings``; ``own`` are the namespace types the container has for itself.

    Raises InvalidArgument for one that would change the host, OSError when the kernel refuses.
    """
    for path, value in checked(settings, own):
        procfs.write(path, value)


def checked(settings: dict[str, str], own: set[str]) -> Iterator[tuple[str, str]]:
    """The files below /proc and what is to be written to them. Raises as ``apply`` does."""
    for written, value in settings.items():
        key = normalized(written)
        if key == "kernel.hostname":
            raise InvalidArgument('sysctl "kernel.hostname" is the configuration\'s "hostname"')
        needed = namespace_of(key)
        if not needed:
            raise InvalidArgument(f'sysctl "{key}" is not in a separate kernel namespace')
        if needed not in own:
            raise InvalidArgument(
                f'sysctl "{key}" is not allowed in the host\'s {needed} namespace'
            )
        yield path_of(key), str(value)


def normalized(key: str) -> str:
    """``key`` with dots between its parts: with a slash first they are slashes (sysctl.d(5))."""
    first = next((letter for letter in key if letter in "./"), ".")
    return key.translate(str.maketrans("./", "/.")) if first == "/" else key


def path_of(key: str) -> str:
    """Below /proc. ``net.ipv4.conf.eth0/1.forwarding`` keeps its slash for a dot (sysctl.d(5))."""
    return "sys/" + key.translate(str.maketrans("./", "/."))


def namespace_of(key: str) -> str:
    """The OCI namespace type that ``key`` belongs to; empty when it is the whole machine's."""
    if ".." in key.replace("/", ".") or key != key.strip():
        return ""
    if key in _IPC or key.startswith("fs.mqueue."):
        return "ipc"
    if key.startswith("net."):
        return "network"
    return "uts" if key in _UTS else ""
