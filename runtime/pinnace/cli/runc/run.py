"""``runc run``: create and start a container, and wait for its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.cli.options import Flag, switch
from pinnace.cli.runc import common, foreground
from pinnace.runc import container

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] CONTAINER"
FLAGS: tuple[Flag, ...] = (
    *common.NEW_CONTAINER,
    switch("detach", "d", about="do not wait for it"),
    switch("keep", about="do not delete it when it has ended"),
    switch("no-subreaper", about="leave orphans of the container to the next subreaper or pid 1"),
)


def run(call: Call) -> int:
    identifier, root = common.container_of(call)
    common.secure()
    options = common.options_of(call)
    bundle, spec = common.bundle_of(call)
    process = spec.get("process") or {}
    detached = call.on("detach")
    common.check_terminal(call, process, detached=detached)
    if detached:
        common.leave_behind(process)
    else:
        foreground.adopt_orphans()
    made = common.warn(
        container.create(identifier, bundle, root, None, options._replace(spec=spec, held=True))
    )
    if call.on("no-subreaper") and not detached:
        foreground.adopt_orphans(adopt=False)
    try:
        common.announce(call, made)
        if detached:
            container.start_created(made)
            return 0
        status = foreground.attend(made, lambda: container.start_created(made))
    except BaseException:
        container.let_go(made)
        container.delete(identifier, root, force=True)
        raise
    if not call.on("keep"):
        container.delete_created(made)
    return status
