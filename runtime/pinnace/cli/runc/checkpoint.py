"""``runc checkpoint``: write a running container to files, with criu."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pinnace.cli.options import Flag, integer, switch, text, texts
from pinnace.cli.runc import common
from pinnace.errors import InvalidArgument
from pinnace.runc import container, criu

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] CONTAINER"
SHARED: tuple[Flag, ...] = (
    text("image-path", about="directory of the images (default: checkpoint below the current one)"),
    text(
        "work-path", about="directory of criu's log and other files (default: that of the images)"
    ),
    switch("tcp-established", about="also open TCP connections"),
    switch("ext-unix-sk", about="also unix sockets that lead out of the container"),
    switch("shell-job", about="also a container on somebody's terminal"),
    switch("file-locks", about="also file locks"),
    text("manage-cgroups-mode", about="soft, full, strict or ignore", default="soft"),
    texts("empty-ns", about="leave this namespace (network) empty"),
    switch("auto-dedup", about="drop pages from the images as they are read"),
    switch("lazy-pages", about="fetch memory when it is used"),
)
FLAGS: tuple[Flag, ...] = (
    *SHARED,
    text("parent-path", about="images of an earlier --pre-dump, which these add to"),
    switch("leave-running", about="let the container go on"),
    switch("tcp-skip-in-flight", about="leave out TCP connections that are being made"),
    switch("link-remap", about="also files that have been removed"),
    integer("status-fd", about="descriptor to write a zero byte to when lazy pages are served", default=-1),
    text("page-server", about="ADDRESS:PORT of the criu that takes the pages"),
    switch("pre-dump", about="write memory only, and let the container go on"),
)  # fmt: skip
_MODES = ("soft", "full", "strict", "ignore")


def run(call: Call) -> int:
    identifier, root = common.container_of(call)
    verb = "pre-dump" if call.on("pre-dump") else "dump"
    flags = shared_flags(call)
    for name, theirs in (
        ("leave-running", "--leave-running"), ("tcp-skip-in-flight", "--skip-in-flight"),
        ("link-remap", "--link-remap"),
    ):  # fmt: skip
        flags += [theirs] if call.on(name) else []
    if call.text("parent-path"):
        flags += ["--prev-images-dir", call.text("parent-path"), "--track-mem"]
    if call.integer("status-fd") >= 0:
        flags += ["--status-fd", str(call.integer("status-fd"))]
    if call.text("page-server"):
        address, colon, port = call.text("page-server").rpartition(":")
        if not colon or not port.isdecimal():
            raise InvalidArgument(
                f"--page-server {call.text('page-server')}: ADDRESS:PORT is expected"
            )
        flags += ["--page-server", "--address", address, "--port", port]
    criu.checkpoint(
        root, identifier, images_of(call), flags, work=call.text("work-path"), verb=verb
    )
    if verb == "dump" and not call.on("leave-running"):
        container.delete(identifier, root, force=True)
    return 0


def images_of(call: Call) -> str:
    """The directory of the images."""
    return os.path.abspath(call.text("image-path") or "checkpoint")


def shared_flags(call: Call) -> list[str]:
    """criu's flags for what checkpoint and restore have in common."""
    mode = call.text("manage-cgroups-mode")
    if mode not in _MODES:
        raise InvalidArgument(
            f"--manage-cgroups-mode {mode}: one of {', '.join(_MODES)} is expected"
        )
    flags = [f"--manage-cgroups={mode}"]
    for name in ("tcp-established", "ext-unix-sk", "shell-job", "file-locks", "auto-dedup", "lazy-pages"):  # fmt: skip
        flags += [f"--{name}"] if call.on(name) else []
    for name in call.texts("empty-ns"):
        if name != "network":
            raise InvalidArgument(f"--empty-ns {name}: only network is supported")
        flags += ["--empty-ns", "net"]
    return flags
