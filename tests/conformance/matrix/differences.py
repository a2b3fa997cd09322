"""What is known to differ between Debian's containerd and ours, and why it may."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """Explains lines that only one side shows.

    Attributes:
        rows: a pattern that the row's words match.
        line: a pattern that the line matches; a line is ``out:``, ``err:`` or ``status:`` and its text.
        reason: why that is right, or how it cannot be otherwise.
    """

    rows: str
    line: str
    reason: str

    def explains(self, words: str, line: str) -> bool:
        return bool(re.fullmatch(self.rows, words) and re.search(self.line, line))


KNOWN: tuple[Difference, ...] = (
    Difference(
        "namespaces (label nope a=b|ls.*)", r"nope|status: ",
        "containerd makes a namespace of one that is labelled and does not exist; here that is an error",
    ),
)  # fmt: skip
