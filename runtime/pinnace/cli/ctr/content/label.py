"""``ctr content label``: set and clear labels of a blob."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pinnace.api.schema.content import Content, Info, InfoRequest, UpdateRequest
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import label_changes, shown_labels

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "<digest> [<label>=<value> ...]"
FLAGS: tuple[Flag, ...] = ()


def run(call: Call) -> int:
    digest = call.argument(0, "please specify a digest")
    with Client.of(call) as client:
        if not call.args[1:]:
            info = client.call(Content.info, InfoRequest(digest=digest)).info
            sys.stdout.write(f"{shown_labels(info.labels if info else {})}\n")
            return 0
        labels, mask = label_changes(call.args[1:], f"{call.path} {USAGE}")
        request = UpdateRequest(info=Info(digest=digest, labels=labels), update_mask=mask)
        updated = client.call(Content.update, request).info
    sys.stdout.write(f"{shown_labels(updated.labels if updated else labels)}\n")
    return 0
