"""``ctr snapshots label``: set and clear labels of a snapshot."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pinnace.api.schema.snapshots import (
    Info,
    Snapshots,
    StatSnapshotRequest,
    UpdateSnapshotRequest,
)
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import label_changes, shown_labels
from pinnace.cli.ctr.flags import SNAPSHOTTER_FLAG

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "<name> [<label>=<value> ...]"
FLAGS: tuple[Flag, ...] = (SNAPSHOTTER_FLAG,)
DETAILS = "A label without a value (KEY=) is cleared."


def run(call: Call) -> int:
    key = call.argument(0, "please specify a snapshot")
    if not call.args[1:]:
        return _show(call, key)
    labels, mask = label_changes(call.args[1:], f"{call.path} {USAGE}")
    request = UpdateSnapshotRequest(
        snapshotter=call.text("snapshotter"), info=Info(name=key, labels=labels), update_mask=mask
    )
    with Client.of(call) as client:
        updated = client.call(Snapshots.update, request).info
    sys.stdout.write(f"{shown_labels(updated.labels if updated else labels)}\n")
    return 0


def _show(call: Call, key: str) -> int:
    """Without changes the labels are shown as they are."""
    request = StatSnapshotRequest(snapshotter=call.text("snapshotter"), key=key)
    with Client.of(call) as client:
        info = client.call(Snapshots.stat, request).info
    sys.stdout.write(f"{shown_labels(info.labels if info else {})}\n")
    return 0
