"""Clearing up after a shim that was killed: its container must not go on without anyone in charge.

What containerd does with ``containerd-shim delete``; here the state files below the shim's directory
say what there is.
"""

from __future__ import annotations

import os


def exist(state: str) -> bool:
    """Whether a container was made below a shim's directory and not removed."""
    return bool(_identifiers(os.path.join(state, "runc")))


def remove(state: str) -> None:
    """Kill what runs of the containers below a shim's directory, and remove all traces of them.

    Nothing there is fine. Raises OSError, or FailedPrecondition when a process will not die.
    """
    root = os.path.join(state, "runc")
    for identifier in _identifiers(root):
        from pinnace.linux import mount
        from pinnace.runc import control
        from pinnace.runc import state as states

        bundle = states.load(root, identifier).bundle
        control.delete(root, identifier, force=True)
        # The shim mounted it: what is mounted on a bundle's root is its maker's to remove.
        mount.unmount_all(os.path.join(bundle, "rootfs"))


def _identifiers(root: str) -> list[str]:
    """The containers below ``root``. Most often there are none: a daemon does without half a megabyte of ``runc`` then."""
    if not os.path.isdir(root) or not os.listdir(root):
        return []
    from pinnace.runc import state as states

    return states.all_ids(root)
