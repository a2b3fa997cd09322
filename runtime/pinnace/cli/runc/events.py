"""``runc events``: what a container uses, and when it runs out of memory, as lines of JSON."""

from __future__ import annotations

import json
import select
import sys
import time
from typing import TYPE_CHECKING, Any

from pinnace.cli.options import Flag, duration, switch
from pinnace.cli.runc import common
from pinnace.errors import FailedPrecondition, InvalidArgument, NotFound
from pinnace.runc import container, control

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] CONTAINER"
FLAGS: tuple[Flag, ...] = (
    duration("interval", default=5.0, about="time between two reports of what is used"),
    switch("stats", about="print one such report and end"),
)
_LOOK_SECONDS = 0.2


def run(call: Call) -> int:
    identifier, root = common.container_of(call)
    interval = call.seconds("interval")
    if interval <= 0:
        raise InvalidArgument("duration interval must be greater than 0")
    if container.state(identifier, root)["status"] == "stopped":
        raise FailedPrecondition(f"container with id {identifier} is not running")
    if call.on("stats"):
        _print("stats", identifier, control.usage(root, identifier))
    else:
        _follow(identifier, root, interval)
    return 0


def _print(kind: str, identifier: str, data: dict[str, Any] | None = None) -> None:
    event: dict[str, Any] = {"type": kind, "id": identifier}
    if data is not None:
        event["data"] = data
    sys.stdout.write(json.dumps(event, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def _follow(identifier: str, root: str, interval: float) -> None:
    """Report until the container has ended."""
    watch = control.watch_oom(root, identifier)
    poll = select.poll()
    if watch is not None:
        poll.register(watch.fd, select.POLLIN)
    due = time.monotonic() + interval
    while _lives(identifier, root):
        if poll.poll(min(_LOOK_SECONDS, max(due - time.monotonic(), 0)) * 1000):
            if watch is not None and watch.happened():
                _print("oom", identifier)
        elif time.monotonic() >= due:
            due += interval
            _print("stats", identifier, control.usage(root, identifier))


def _lives(identifier: str, root: str) -> bool:
    try:
        return bool(container.state(identifier, root)["status"] != "stopped")
    except NotFound:
        return False
