"""``runc restore``: make a container from what ``runc checkpoint`` wrote, with criu."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.cli.options import Flag, switch, text
from pinnace.cli.runc import checkpoint, common, foreground
from pinnace.errors import InvalidArgument, Unimplemented
from pinnace.linux.kernel import KERNEL
from pinnace.runc import container, criu
from pinnace.spec import runtime

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] CONTAINER"
FLAGS: tuple[Flag, ...] = (
    *checkpoint.SHARED,
    text("bundle", "b", default=".", about="the directory with config.json"),
    text("console-socket", about="refused: containers with a terminal can't be restored"),
    switch("detach", "d", about="do not wait for it"),
    text("pid-file", about="file to write the first process's id to"),
    switch("no-subreaper", about="leave orphans of the container to the next subreaper or pid 1"),
    switch("no-pivot", about="refused: criu always pivots"),
    text("lsm-profile", about="TYPE:NAME of the security profile to restore with"),
    text("lsm-mount-context", about="SELinux context to mount with"),
)


def run(call: Call) -> int:
    identifier, root = common.container_of(call)
    common.secure()
    bundle = call.text("bundle")
    process = runtime.load(bundle).get("process") or {}
    if process.get("terminal") or call.text("console-socket"):
        raise Unimplemented("a container with a terminal can't be restored")
    flags = checkpoint.shared_flags(call)
    for name in ("lsm-profile", "lsm-mount-context"):
        flags += [f"--{name}", call.text(name)] if call.text(name) else []
    if call.on("no-pivot"):
        raise InvalidArgument("--no-pivot: criu always pivots", hint="restore from a real root")
    foreground.adopt_orphans(adopt=not call.on("no-subreaper"))
    images = checkpoint.images_of(call)
    state = criu.restore(
        KERNEL, root, identifier, bundle, images, flags, work=call.text("work-path")
    )
    if call.text("pid-file"):
        common.write_pid(call.text("pid-file"), state.pid)
    if call.on("detach"):
        return 0
    status = foreground.wait_for(state.pid)
    container.delete(identifier, root, force=True)
    return status
