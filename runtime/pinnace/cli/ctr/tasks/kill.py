"""``ctr tasks kill``: send a signal to a task."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from pinnace.cli import containers
from pinnace.cli.client import Client
from pinnace.cli.options import Flag, switch, text
from pinnace.cli.processes import Process, parse_signal

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] CONTAINER"
FLAGS: tuple[Flag, ...] = (
    text("signal", "s", about="signal to send, by name or number (default: the image's, or SIGTERM)"),
    text("exec-id", about="send it to this process instead of the first"),
    switch("all", "a", about="send it to every process of the container"),
)  # fmt: skip
_STOP_SIGNAL = "io.containerd.image.config.stop-signal"


def run(call: Call) -> int:
    container_id = call.only_argument("container id must be provided")
    number = parse_signal(call.text("signal")) if call.text("signal") else 0
    with Client.of(call) as client:
        labels = containers.get(client, container_id).labels
        if not number:
            wanted = "" if call.text("exec-id") else labels.get(_STOP_SIGNAL, "")
            number = parse_signal(wanted) if wanted else signal.SIGTERM
        process = Process(client, container_id, call.text("exec-id"))
        process.kill(number, everyone=call.on("all"))
    return 0
