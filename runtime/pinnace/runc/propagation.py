"""Where mounts and unmounts of a container's root are seen besides (config-linux.md, "Rootfs Mount Propagation")."""

from __future__ import annotations

from typing import Any

from pinnace.errors import InvalidArgument
from pinnace.linux.mount import MS_REC, PROPAGATION


def of_host(spec: dict[str, Any]) -> int:
    """What everything of the host's becomes before a container has any of it: one flag of mount(2), without MS_REC.

    Raises InvalidArgument for a word that is none.
    """
    word = (spec.get("linux") or {}).get("rootfsPropagation") or "rslave"
    if word not in PROPAGATION:
        raise InvalidArgument(f"linux.rootfsPropagation {word!r} is not known")
    return PROPAGATION[word] & ~MS_REC
