"""Volumes with shifted owners: ``uidMappings`` and ``gidMappings`` of a mount, ``idmap`` and ``ridmap``.

config.md, "Linux mount options". The mounts are made by the creator, which has the right to (in a user
namespace nobody has it), and are attached where they belong by the container's first process.
"""

from __future__ import annotations

import os
from typing import Any

from pinnace.errors import Error, InvalidArgument
from pinnace.linux.kernel import Kernel
from pinnace.linux.mount import MS_BIND, MS_REC, parse_options
from pinnace.runc import propagation

WORDS = ("idmap", "ridmap")


def plain_options(item: dict[str, Any]) -> list[str]:
    """The options of a mount without the words that are about owners."""
    return [word for word in item.get("options") or () if word not in WORDS]


def open_trees(kernel: Kernel, spec: dict[str, Any], bundle: str) -> dict[int, int]:
    """Descriptors of the mounts with shifted owners, not attached yet, by index in ``mounts``.

    Raises InvalidArgument for a mapping that is none, Error when the kernel or the file system
    cannot do it.
    """
    trees: dict[int, int] = {}
    try:
        for index, item in enumerate(spec.get("mounts") or ()):
            if _is_mapped(item):
                trees[index] = _open_tree(kernel, spec, item, bundle)
    except BaseException:
        close(trees)
        raise
    return trees


def close(trees: dict[int, int]) -> None:
    """Let go of mounts that were not attached, or are by now."""
    for tree in trees.values():
        os.close(tree)
    trees.clear()


def attach(tree: int, place: int) -> None:
    """Mount ``tree`` on what is behind the descriptor ``place``."""
    from pinnace.linux import idmap

    idmap.attach(tree, place)


def _is_mapped(item: dict[str, Any]) -> bool:
    options = item.get("options") or ()
    asked = item.get("uidMappings") or item.get("gidMappings")
    return bool(asked) or any(word in options for word in WORDS)


def _open_tree(kernel: Kernel, spec: dict[str, Any], item: dict[str, Any], bundle: str) -> int:
    from pinnace.linux import idmap  # few configurations ask for it

    target = item["destination"]
    parsed = parse_options(plain_options(item))
    if not (parsed.flags & MS_BIND or item.get("type") == "bind"):
        raise InvalidArgument(f"mount {target}: only bind mounts can be idmapped")
    users, groups = _mappings(spec, item)
    source = os.path.join(bundle, item.get("source") or "")
    try:
        namespace = idmap.user_namespace(
            kernel,
            *(
                [idmap.Mapping(it["containerID"], it["hostID"], it["size"]) for it in each]
                for each in (users, groups)
            ),
        )
        try:
            tree = idmap.open_tree(source, recursive=bool(parsed.flags & MS_REC))
            try:
                idmap.apply(tree, namespace, recursive="ridmap" in (item.get("options") or ()))
                # Made outside, it is a peer of the host's mount: what is mounted in it would be mounted there.
                idmap.propagate(tree, propagation.of_host(spec))
            except BaseException:
                os.close(tree)
                raise
        finally:
            os.close(namespace)
    except OSError as problem:
        raise Error(
            f"mount {target}: {source} cannot be idmapped: {os.strerror(problem.errno or 0)}",
            hint="it takes Linux 5.12, root, and a file system that supports it",
        ) from None
    return tree


def _mappings(spec: dict[str, Any], item: dict[str, Any]) -> tuple[Any, Any]:
    """Those of the mount; those of the container's user namespace when it only says ``idmap``."""
    users, groups = item.get("uidMappings"), item.get("gidMappings")
    if not users and not groups:
        linux = spec.get("linux") or {}
        users, groups = linux.get("uidMappings"), linux.get("gidMappings")
    if not users or not groups:
        raise InvalidArgument(
            f"mount {item['destination']}: uidMappings and gidMappings are needed, both"
        )
    return users, groups
