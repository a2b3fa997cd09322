"""``ctr leases create``: make a lease, which keeps content from being collected."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from pinnace.api.schema.leases import CreateRequest, Leases
from pinnace.cli.client import Client
from pinnace.cli.containers import parse_labels
from pinnace.cli.options import Flag, duration, text

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] <label>=<value> ..."
FLAGS: tuple[Flag, ...] = (
    text("id", about="the lease's id (default: made up)"),
    duration("expires", "x", about="how long it lasts (default: 24h, 0: for ever)", default=86400.0),
)  # fmt: skip


def run(call: Call) -> int:
    labels = parse_labels(call.args)
    if call.seconds("expires"):
        end = time.gmtime(time.time() + call.seconds("expires"))
        labels["containerd.io/gc.expire"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", end)
    lease_id = call.text("id") or f"ctr-{os.urandom(8).hex()}"
    with Client.of(call) as client:
        lease = client.call(Leases.create, CreateRequest(id=lease_id, labels=labels)).lease
    sys.stdout.write(f"{lease.id if lease else lease_id}\n")
    return 0
