"""Mounts as the snapshot verbs print them: commands to type, or JSON."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pinnace.cli.ctr.common import json_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pinnace.api.schema.types import Mount


def print_commands(mounts: Sequence[Mount], target: str) -> None:
    """One ``mount`` command for each."""
    for each in mounts:
        options = f" -o {','.join(each.options)}" if each.options else ""
        sys.stdout.write(f"mount -t {each.type} {each.source} {target}{options}\n")


def print_json(mounts: Sequence[Mount]) -> None:
    """In the form of containerd's own structure."""
    json_out(
        [
            {
                "Type": each.type,
                "Source": each.source,
                "Target": each.target,
                "Options": list(each.options) or None,
            }
            for each in mounts
        ]
    )
