"""Shims that nobody knows of: a daemon that was killed had asked for them, or had begun to remove them."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from pinnace.errors import Error, Unavailable
from pinnace.keeper import leftovers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pinnace.daemon.shims import Shims


def clear(shims: Shims, state: str) -> bool:
    """End the shim that listens in ``state``, if any, and remove what it and its container left, but the directory.

    Whether there was anything. Raises OSError, or FailedPrecondition when a process will not die.
    """
    address = os.path.join(state, "shim.sock")
    if not os.path.lexists(address):
        return False
    with contextlib.suppress(Unavailable):
        shim = shims.connect(address, _ignore, lambda: None)
        with contextlib.suppress(Error):
            shim.call("shutdown")
        shim.close()
    leftovers.remove(state)
    for name in ("shim.sock", "exit.json"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(state, name))
    return True


def _ignore(_event: Mapping[str, Any]) -> None:
    """What an unknown shim tells is nobody's business."""
