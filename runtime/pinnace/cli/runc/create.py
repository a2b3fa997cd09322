"""``runc create``: everything of a container but its program, which waits for ``runc start``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.cli.runc import common
from pinnace.runc import container

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] CONTAINER"
FLAGS = common.NEW_CONTAINER


def run(call: Call) -> int:
    identifier, root = common.container_of(call)
    common.secure()
    options = common.options_of(call)
    bundle, spec = common.bundle_of(call)
    process = spec.get("process") or {}
    common.check_terminal(call, process, detached=True)
    common.leave_behind(process)
    made = common.warn(
        container.create(identifier, bundle, root, None, options._replace(spec=spec))
    )
    try:
        common.announce(call, made)
    except BaseException:
        container.delete(identifier, root, force=True)
        raise
    return 0
